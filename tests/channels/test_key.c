/* test_key.c - I3: keys: in memory that nobody reads by accident, and in files that are their owner's alone. */
#include "fixture.h"

#include "../../channels/key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128];

static void folder_make(void)
{
    strcpy(folder, "/tmp/lace-key-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/key", folder);
}

static void folder_remove(void)
{
    unlink(path);
    CHECK(rmdir(folder) == 0);
}

static size_t file_read(char *text, size_t room)
{
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    setvbuf(file, NULL, _IONBF, 0);
    size_t size = fread(text, 1, room, file);
    fclose(file);
    return size;
}

static void file_write(const char *text, size_t size)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, text, size) == (ssize_t)size && close(fd) == 0);
}

static void check_load(lace_status status, const char *said)
{
    lace_key *loaded = NULL;
    CHECK_STATUS(status, lace_key_load(path, &loaded));
    CHECK((status == LACE_OK) == (loaded != NULL));
    if (said)
        CHECK_MSG(strstr(lace_explain(status), said) && strstr(lace_explain(status), path), "%s",
                  lace_explain(status));
    lace_key_destroy(loaded);
}

START_TEST(test_i3_keys_are_random)
{
    lace_key *keys[20];
    for (size_t i = 0; i < 20; i++) {
        CHECK_OK(lace_key_create(&keys[i]));
        const char *text = lace_key_fingerprint(keys[i]);
        CHECK_UINT(strlen(text), LACE_FINGERPRINT - 1);
        CHECK_UINT(strspn(text, "0123456789abcdef-"), LACE_FINGERPRINT - 1);
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(text, lace_key_fingerprint(keys[k])) != 0);
    }
    for (size_t i = 0; i < 20; i++)
        lace_key_destroy(keys[i]);
    lace_key_destroy(NULL);
    CHECK_STATUS(LACE_INVALID, lace_key_create(NULL));
}
END_TEST

/* _i: the umask */
START_TEST(test_i3_a_key_file_is_its_owners_alone)
{
    static const mode_t masks[] = {0, 022, 077, 0777};
    lace_key *key, *loaded;
    struct stat stat;
    char text[200];
    folder_make();
    CHECK_OK(lace_key_create(&key));
    mode_t before = umask(masks[_i]);
    CHECK_OK(lace_key_save(key, path));
    umask(before);
    CHECK(lstat(path, &stat) == 0 && S_ISREG(stat.st_mode));
    CHECK_UINT(stat.st_mode & 07777, 0600);
    CHECK_UINT(file_read(text, sizeof text), 65); /* the documented format: one line that can be printed */
    CHECK(memcmp(text, "interlace-key-1:", 16) == 0 && text[64] == '\n');
    for (size_t i = 16; i < 64; i++)
        CHECK(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text[i]) && text[i]);
    CHECK_OK(lace_key_load(path, &loaded));
    CHECK(strcmp(lace_key_fingerprint(key), lace_key_fingerprint(loaded)) == 0);
    CHECK(!strstr(text, lace_key_fingerprint(key)));
    file_write(text, 64); /* an editor may have lost the newline */
    check_load(LACE_OK, NULL);
    lace_key_destroy(key);
    lace_key_destroy(loaded);
    folder_remove();
}
END_TEST

START_TEST(test_i3_a_key_file_is_not_overwritten)
{
    lace_key *key, *other;
    char link[200], before[200], after[200];
    folder_make();
    CHECK_OK(lace_key_create(&key));
    CHECK_OK(lace_key_create(&other));
    CHECK_OK(lace_key_save(key, path));
    size_t size = file_read(before, sizeof before);
    CHECK_STATUS(LACE_SYSTEM, lace_key_save(other, path));
    CHECK_UINT(errno, EEXIST);
    CHECK(file_read(after, sizeof after) == size && memcmp(before, after, size) == 0);
    snprintf(link, sizeof link, "%s/link", folder);
    CHECK(symlink("nowhere", link) == 0); /* nor written where a link points to */
    CHECK_STATUS(LACE_SYSTEM, lace_key_save(other, link));
    CHECK_UINT(errno, EEXIST);
    unlink(link);
    CHECK_STATUS(LACE_SYSTEM, lace_key_save(other, "/nowhere/at/all"));
    CHECK_UINT(errno, ENOENT);
    CHECK_STATUS(LACE_INVALID, lace_key_save(NULL, path));
    CHECK_STATUS(LACE_INVALID, lace_key_save(key, NULL));
    lace_key_destroy(key);
    lace_key_destroy(other);
    folder_remove();
}
END_TEST

START_TEST(test_i3_an_exposed_key_file_is_refused)
{
    lace_key *key;
    folder_make();
    CHECK_OK(lace_key_create(&key));
    CHECK_OK(lace_key_save(key, path));
    for (mode_t mode = 0; mode < 0100; mode++) {
        CHECK(chmod(path, 0600 | mode) == 0);
        if (mode == 0)
            check_load(LACE_OK, NULL);
        else
            check_load(LACE_EXPOSED, "chmod 600");
    }
    CHECK(chmod(path, 0400) == 0);
    check_load(LACE_OK, NULL);
    if (geteuid() == 0) { /* somebody else's: only root can make one to try it with */
        CHECK(chmod(path, 0600) == 0 && chown(path, 4321, 0) == 0);
        check_load(LACE_EXPOSED, "uid 4321");
    }
    lace_key_destroy(key);
    folder_remove();
}
END_TEST

START_TEST(test_i3_what_is_no_key_file_is_refused)
{
    lace_key *key = NULL;
    char good[200], text[400], link[200];
    folder_make();
    CHECK_STATUS(LACE_SYSTEM, lace_key_load(path, &key));
    CHECK_UINT(errno, ENOENT);
    CHECK_STATUS(LACE_INVALID, lace_key_load(NULL, &key));
    CHECK_STATUS(LACE_INVALID, lace_key_load(path, NULL));
    CHECK_OK(lace_key_create(&key));
    CHECK_OK(lace_key_save(key, path));
    lace_key_destroy(key);
    CHECK_UINT(file_read(good, sizeof good), 65);
    for (size_t size = 0; size < 64; size++) { /* cut off */
        file_write(good, size);
        check_load(LACE_MALFORMED, "interlace key new");
    }
    for (size_t i = 0; i < 64; i++) /* a slip of the hand, anywhere */
        for (int other = 0; other < 256; other += 1 + (int)i % 7) {
            memcpy(text, good, 65);
            text[i] = (char)other;
            if (text[i] == good[i])
                continue;
            file_write(text, 65);
            check_load(LACE_MALFORMED, "holds no key");
        }
    memcpy(text, good, 65); /* more than a line */
    memcpy(text + 65, good, 65);
    file_write(text, 130);
    check_load(LACE_MALFORMED, NULL);
    text[65] = '\n';
    file_write(text, 66);
    check_load(LACE_MALFORMED, NULL);
    text[64] = '\r';
    file_write(text, 66);
    check_load(LACE_MALFORMED, NULL);
    text[64] = ' ';
    file_write(text, 65);
    check_load(LACE_MALFORMED, NULL);

    file_write(good, 65); /* a link may point to what somebody else chooses */
    snprintf(link, sizeof link, "%s/link", folder);
    CHECK(symlink(path, link) == 0);
    CHECK_STATUS(LACE_MALFORMED, lace_key_load(link, &key));
    CHECK(strstr(lace_explain(LACE_MALFORMED), "symbolic link"));
    unlink(link);
    unlink(path);
    CHECK(mkfifo(path, 0600) == 0); /* which must not be waited for */
    check_load(LACE_MALFORMED, "no file at all");
    unlink(path);
    CHECK(mkdir(path, 0700) == 0);
    check_load(LACE_MALFORMED, "no file at all");
    rmdir(path);
    CHECK_STATUS(LACE_MALFORMED, lace_key_load("/dev/zero", &key));
    folder_remove();
}
END_TEST

/* One key, several threads that make channels with it at once. */
static void use_run(void *context)
{
    lace_seal_options options = {.key = context};
    for (size_t i = test_scaled(200); i > 0; i--) {
        int fds[2];
        lace_sender *sender;
        CHECK(pipe2(fds, O_CLOEXEC) == 0);
        CHECK_OK(lace_sealed_sender(fds[1], &options, &sender));
        lace_sender_destroy(sender);
        close(fds[0]);
    }
}

START_TEST(test_i3_a_key_is_used_by_several_threads)
{
    thread threads[4];
    lace_key *key;
    CHECK_OK(lace_key_create(&key));
    for (size_t i = 0; i < 4; i++)
        thread_start(&threads[i], use_run, key);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    lace_key_destroy(key);
}
END_TEST

/* ---- what is left in memory --------------------------------------------------------------------------- */

/* How often the bytes whose complement this is lie in memory that this process can read. */
static size_t memory_count(const unsigned char inverted[LACE_KEY_BYTES])
{
    static unsigned char page[1 << 16];
    char line[512];
    size_t found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    CHECK(maps && memory >= 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char mode[8];
        CHECK(sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3);
        if (mode[0] != 'r' || mode[1] != 'w')
            continue;
        /* Keys lie at addresses that are a multiple of 4: they are looked for there, and across two reads. */
        for (unsigned long at = start; at < end; at += sizeof page - LACE_KEY_BYTES) {
            size_t wanted = end - at < sizeof page ? end - at : sizeof page;
            ssize_t size = pread(memory, page, wanted, (off_t)at);
            for (ssize_t i = 0; i + LACE_KEY_BYTES <= size; i += 4) {
                size_t same = 0;
                while (same < LACE_KEY_BYTES && page[i + (ssize_t)same] == (unsigned char)~inverted[same])
                    same++;
                found += same == LACE_KEY_BYTES;
            }
            memset(page, 0, sizeof page); /* so that it is not found here */
        }
    }
    fclose(maps);
    close(memory);
    return found;
}

/* The key itself, as its file has it, so that it can be looked for. Leaves no copy of it but its complement. */
static void file_secret(unsigned char inverted[LACE_KEY_BYTES])
{
    char text[200];
    unsigned char bytes[LACE_KEY_BYTES + 4];
    size_t size;
    CHECK_UINT(file_read(text, sizeof text), 65);
    CHECK(sodium_base642bin(bytes, sizeof bytes, text + 16, 48, NULL, &size, NULL,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0);
    for (size_t i = 0; i < LACE_KEY_BYTES; i++)
        inverted[i] = (unsigned char)~bytes[i];
    sodium_memzero(text, sizeof text);
    sodium_memzero(bytes, sizeof bytes);
}

START_TEST(test_i3_no_copy_of_a_key_is_left)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* their shadows take days to look through */
#endif
    unsigned char inverted[LACE_KEY_BYTES];
    lace_key *key, *loaded;
    folder_make();
    CHECK_OK(lace_key_create(&key));
    CHECK_OK(lace_key_save(key, path));
    file_secret(inverted);
    CHECK_UINT(memory_count(inverted), 0); /* and it is, but cannot be read */
    CHECK_OK(lace_key_load(path, &loaded));
    CHECK_UINT(memory_count(inverted), 0);
    lace_key_destroy(key);
    lace_key_destroy(loaded);
    volatile unsigned char *planted = malloc(LACE_KEY_BYTES); /* would it be found? */
    for (size_t i = 0; i < LACE_KEY_BYTES; i++)
        planted[i] = (unsigned char)~inverted[i];
    CHECK_UINT(memory_count(inverted), 1);
    free((void *)planted);
    folder_remove();
}
END_TEST

TEST_MAIN("key", TEST(test_i3_keys_are_random), TEST_LOOP(test_i3_a_key_file_is_its_owners_alone, 4),
          TEST(test_i3_a_key_file_is_not_overwritten), TEST(test_i3_an_exposed_key_file_is_refused),
          TEST(test_i3_what_is_no_key_file_is_refused), TEST(test_i3_a_key_is_used_by_several_threads),
          TEST(test_i3_no_copy_of_a_key_is_left))
