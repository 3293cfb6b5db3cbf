/* key.c - shared keys: in guarded memory, in files that are their owner's alone, and by their fingerprint. */
#define _GNU_SOURCE
#include "key.h"

#include "fork.h"
#include "hooks.h"
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file holds one line: FORMAT, then KEY_BASE64 characters (URL-safe, no padding) of the secret and the first
 * CHECK bytes of its id, which tell a slip of the hand from another key. */
#define FORMAT "interlace-key-1:"
#define FORMAT_LENGTH (sizeof FORMAT - 1)
#define CHECK 4
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define KEY_BASE64 (sodium_base64_ENCODED_LEN(LACE_KEY_BYTES + CHECK, VARIANT) - 1)
#define LINE (FORMAT_LENGTH + KEY_BASE64 + 1) /* with the newline */

struct lace_key {
    struct lace_lock lock; /* held while the secret can be read */
    unsigned char *secret; /* LACE_KEY_BYTES, guarded; nobody can read it but under the lock */
    unsigned char id[LACE_KEY_ID];
    char fingerprint[LACE_FINGERPRINT];
};

/* ---- guarded memory ----------------------------------------------------------------------------------- */

void *lace_guarded_create(size_t size)
{
    size_t whole = (size + 15) / 16 * 16; /* it lies at the end of a page, so this is what aligns it */

    if (LACE_FAILS(LACE_FAULT_ALLOC) || sodium_init() < 0)
        return NULL;
    void *memory = sodium_malloc(whole);
    if (memory != NULL)
        sodium_memzero(memory, whole);
    return memory;
}

void lace_guarded_destroy(void *memory)
{
    sodium_free(memory);
}

/* ---- keys --------------------------------------------------------------------------------------------- */

static void make_id(const unsigned char secret[LACE_KEY_BYTES], unsigned char ret_id[LACE_KEY_ID])
{
    static const unsigned char purpose[16] = "lace key id";
    unsigned char hash[crypto_generichash_blake2b_BYTES_MIN];

    crypto_generichash_blake2b_salt_personal(hash, sizeof hash, NULL, 0, secret, LACE_KEY_BYTES, NULL, purpose);
    memcpy(ret_id, hash, LACE_KEY_ID);
}

void lace_key_print(const unsigned char id[LACE_KEY_ID], char ret_text[LACE_FINGERPRINT])
{
    snprintf(ret_text, LACE_FINGERPRINT, "%02x%02x-%02x%02x-%02x%02x-%02x%02x", id[0], id[1], id[2], id[3], id[4],
             id[5], id[6], id[7]);
}

/* A key with an empty secret, which can be written. */
static lace_key *make_key(void)
{
    lace_key *key = lace_allocate(sizeof *key);

    if (key == NULL)
        return NULL;
    key->secret = lace_guarded_create(LACE_KEY_BYTES);
    if (key->secret == NULL) {
        free(key);
        return NULL;
    }
    return key;
}

/* The secret is there: locks it away. */
static void finish_key(lace_key *key)
{
    make_id(key->secret, key->id);
    lace_key_print(key->id, key->fingerprint);
    sodium_mprotect_noaccess(key->secret);
}

/* Opens the secret for reading, and locks it away again. */
static void show(const lace_key *key)
{
    lace_lock_acquire(&((lace_key *)key)->lock);
    sodium_mprotect_readonly(key->secret);
}

static void hide(const lace_key *key)
{
    sodium_mprotect_noaccess(key->secret);
    lace_lock_release(&((lace_key *)key)->lock);
}

lace_status lace_key_create(lace_key **ret_key)
{
    if (lace_forked())
        return LACE_FORKED;
    if (ret_key == NULL)
        return LACE_INVALID;
    lace_key *key = make_key();
    if (key == NULL)
        return LACE_NOMEM;
    randombytes_buf(key->secret, LACE_KEY_BYTES);
    finish_key(key);
    *ret_key = key;
    return LACE_OK;
}

lace_key *lace_key_copy(const lace_key *key)
{
    lace_key *copy = make_key();

    if (copy != NULL) {
        show(key);
        memcpy(copy->secret, key->secret, LACE_KEY_BYTES);
        hide(key);
        finish_key(copy);
    }
    return copy;
}

void lace_key_destroy(lace_key *key)
{
    if (key == NULL)
        return;
    lace_guarded_destroy(key->secret);
    free(key);
}

const char *lace_key_fingerprint(const lace_key *key)
{
    return key != NULL ? key->fingerprint : "";
}

const unsigned char *lace_key_id(const lace_key *key)
{
    return key->id;
}

void lace_key_derive(const lace_key *key, const char purpose[16], const char *label,
                     unsigned char ret_derived[LACE_KEY_BYTES])
{
    const char *text = label != NULL ? label : "";

    show(key);
    crypto_generichash_blake2b_salt_personal(ret_derived, LACE_KEY_BYTES, (const unsigned char *)text, strlen(text),
                                             key->secret, LACE_KEY_BYTES, NULL, (const unsigned char *)purpose);
    hide(key);
}

/* ---- files -------------------------------------------------------------------------------------------- */

/* Whether the open file may hold a key: a plain file, its owner's alone. */
static lace_status check_file(int fd, const char *path)
{
    struct stat stat;

    if (fstat(fd, &stat) != 0)
        return LACE_SYSTEM;
    if (!S_ISREG(stat.st_mode)) {
        lace_explained(LACE_MALFORMED, "%s is no key file: it is no file at all", path);
        return LACE_MALFORMED;
    }
    if (stat.st_uid != geteuid()) {
        lace_explained(LACE_EXPOSED,
                       "the key file %s belongs to another user (uid %lu): copy it to a file of your own", path,
                       (unsigned long)stat.st_uid);
        return LACE_EXPOSED;
    }
    if ((stat.st_mode & 077) != 0) {
        lace_explained(LACE_EXPOSED,
                       "others may read or write the key file %s (its mode is %04o): chmod 600 %s, or "
                       "make a new key if somebody may have read it",
                       path, (unsigned)stat.st_mode & 07777, path);
        return LACE_EXPOSED;
    }
    return LACE_OK;
}

/* Reads until `room` bytes are there or the file ends. */
static lace_status read_file(int fd, char *text, size_t room, size_t *ret_size)
{
    size_t size = 0;

    while (size < room) {
        ssize_t count = read(fd, text + size, room - size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return LACE_SYSTEM;
        if (count == 0)
            break;
        size += (size_t)count;
    }
    *ret_size = size;
    return LACE_OK;
}

/* Reads the line of a key file into a key. */
static lace_status parse(const char *text, size_t size, lace_key *key)
{
    unsigned char bytes[LACE_KEY_BYTES + CHECK];
    unsigned char id[LACE_KEY_ID];
    size_t length;
    lace_status status = LACE_MALFORMED;

    if (size == LINE && text[LINE - 1] == '\n')
        size--;
    if (size == LINE - 1 && memcmp(text, FORMAT, FORMAT_LENGTH) == 0 &&
        sodium_base642bin(bytes, sizeof bytes, text + FORMAT_LENGTH, KEY_BASE64, NULL, &length, NULL, VARIANT) == 0 &&
        length == sizeof bytes) {
        make_id(bytes, id);
        if (memcmp(bytes + LACE_KEY_BYTES, id, CHECK) == 0) {
            memcpy(key->secret, bytes, LACE_KEY_BYTES);
            status = LACE_OK;
        }
    }
    sodium_memzero(bytes, sizeof bytes);
    return status;
}

static lace_status load(int fd, const char *path, lace_key *key)
{
    char text[LINE + 1]; /* one more than a key file has */
    size_t size = 0;
    lace_status status = check_file(fd, path);

    if (status == LACE_OK)
        status = read_file(fd, text, sizeof text, &size);
    if (status == LACE_OK) {
        status = parse(text, size, key);
        if (status == LACE_MALFORMED)
            lace_explained(status,
                           "%s holds no key: one line that begins with " FORMAT " was expected, as `interlace "
                           "key new` writes it",
                           path);
    }
    sodium_memzero(text, sizeof text);
    return status;
}

lace_status lace_key_load(const char *path, lace_key **ret_key)
{
    if (lace_forked())
        return LACE_FORKED;
    if (path == NULL || ret_key == NULL)
        return LACE_INVALID;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP) {
        lace_explained(LACE_MALFORMED, "%s is a symbolic link: name the key file itself", path);
        return LACE_MALFORMED;
    }
    if (fd < 0)
        return LACE_SYSTEM;
    lace_key *key = make_key();
    lace_status status = key == NULL ? LACE_NOMEM : load(fd, path, key);
    int saved = errno;
    close(fd);
    if (status == LACE_OK) {
        finish_key(key);
        *ret_key = key;
    } else {
        lace_key_destroy(key);
    }
    errno = saved;
    return status;
}

static lace_status write_file(int fd, const char *text, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = write(fd, text + done, size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return LACE_SYSTEM;
        done += (size_t)count;
    }
    return fsync(fd) == 0 ? LACE_OK : LACE_SYSTEM;
}

lace_status lace_key_save(const lace_key *key, const char *path)
{
    if (lace_forked())
        return LACE_FORKED;
    unsigned char bytes[LACE_KEY_BYTES + CHECK];
    char text[LINE + 1]; /* the encoder ends it with a NUL, where the newline comes then */

    if (key == NULL || path == NULL)
        return LACE_INVALID;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return LACE_SYSTEM;
    show(key);
    memcpy(bytes, key->secret, LACE_KEY_BYTES);
    hide(key);
    memcpy(bytes + LACE_KEY_BYTES, key->id, CHECK);
    memcpy(text, FORMAT, FORMAT_LENGTH);
    sodium_bin2base64(text + FORMAT_LENGTH, KEY_BASE64 + 1, bytes, sizeof bytes, VARIANT);
    text[LINE - 1] = '\n';
    lace_status status = fchmod(fd, 0600) == 0 ? write_file(fd, text, LINE) : LACE_SYSTEM; /* whatever the umask */
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(text, sizeof text);
    int saved = errno;
    if (close(fd) != 0 && status == LACE_OK) {
        saved = errno;
        status = LACE_SYSTEM;
    }
    if (status != LACE_OK)
        unlink(path);
    errno = saved;
    return status;
}
