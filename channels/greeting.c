/* greeting.c - two sides of a socket prove to each other that they have the shared key, and make fresh ones.
 *
 *   both  ->  HELLO: role, key id, a fresh public key, and a MAC with the shared key
 *   both  ->  CONFIRM: the first record of the stream in that direction
 *
 * The two fresh keys make two secrets (crypto_kx), one for each direction. The key of a direction is BLAKE2b of its
 * secret and both HELLOs, keyed with one derived from the shared key and the label: it takes the shared key *and* a
 * fresh one to know it. A HELLO that is played again is of no use without the fresh secret key it was made with, and
 * the CONFIRM shows that its sender has it. A stream's id is a hash of both HELLOs, so that a stream of another session
 * can be told from a forged one.
 */
#include "greeting.h"

#include "hooks.h"
#include "turn.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VERSION 1

struct hello {
    uint32_t magic;
    uint8_t version;
    uint8_t role;
    uint16_t memory; /* 1: what follows goes through memory */
    uint8_t key_id[LACE_KEY_ID];
    uint8_t fresh[crypto_kx_PUBLICKEYBYTES];
    uint8_t mac[LACE_MAC];
};
_Static_assert(sizeof(struct hello) == LACE_HELLO_SIZE, "the wire format");

/* One greeting, in guarded memory. */
struct greeting {
    struct hello ours;
    struct hello theirs;
    unsigned char greeting_key[LACE_KEY_BYTES]; /* derived from the shared key, for the MAC */
    unsigned char session_key[LACE_KEY_BYTES];  /* and for the keys of the directions */
    unsigned char secret[crypto_kx_SECRETKEYBYTES];
    unsigned char received[crypto_kx_SESSIONKEYBYTES]; /* what crypto_kx makes for each direction, then its key */
    unsigned char sent[crypto_kx_SESSIONKEYBYTES];
};
_Static_assert(crypto_kx_SESSIONKEYBYTES == LACE_KEY_BYTES, "a session's key is a stream's");

static lace_status fail(lace_status status, const char *story)
{
    lace_explained(status, "%s", story);
    return status;
}

/* ---- bytes -------------------------------------------------------------------------------------------- */

static lace_status read_exactly(struct lace_call *call, void *to, size_t size)
{
    unsigned char *at = to;

    while (size > 0) {
        ssize_t count = read(call->pipe->fd, at, LACE_FAILS(LACE_FAULT_READ) ? 1 : size);
        if (count > 0) {
            at += count;
            size -= (size_t)count;
            continue;
        }
        if (count == 0 || errno == ECONNRESET)
            return fail(LACE_TRUNCATED, "the other side left in the middle of the greeting");
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return LACE_SYSTEM;
        lace_status status = lace_turn_wait(call, POLLIN);
        if (status != LACE_OK)
            return status;
    }
    return LACE_OK;
}

static lace_status write_exactly(struct lace_call *call, const void *from, size_t size)
{
    const unsigned char *at = from;

    while (size > 0) {
        size_t part = LACE_FAILS(LACE_FAULT_SHORT) ? 1 : size;
        ssize_t count = LACE_FAILS(LACE_FAULT_WRITE) ? (errno = EAGAIN, -1)
                                                     : send(call->pipe->fd, at, part, MSG_NOSIGNAL);
        if (count >= 0) {
            at += count;
            size -= (size_t)count;
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET)
            return fail(LACE_TRUNCATED, "the other side left in the middle of the greeting");
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return LACE_SYSTEM;
        lace_status status = lace_turn_wait(call, POLLOUT);
        if (status != LACE_OK)
            return status;
    }
    return LACE_OK;
}

/* ---- keys --------------------------------------------------------------------------------------------- */

static void authenticate(const struct greeting *greeting, const struct hello *hello, unsigned char ret_mac[LACE_MAC])
{
    static const unsigned char purpose[16] = "lace hello mac";

    crypto_generichash_blake2b_salt_personal(ret_mac, LACE_MAC, (const unsigned char *)hello,
                                             offsetof(struct hello, mac), greeting->greeting_key, LACE_KEY_BYTES,
                                             NULL, purpose);
}

static void begin(struct greeting *greeting, const struct lace_manners *manners)
{
    static const char greeting_purpose[16] = "lace greeting";
    static const char session_purpose[16] = "lace session";

    lace_key_derive(manners->key, greeting_purpose, manners->label, greeting->greeting_key);
    lace_key_derive(manners->key, session_purpose, manners->label, greeting->session_key);
    greeting->ours = (struct hello){.magic = LACE_GREETING_MAGIC,
                                    .version = VERSION,
                                    .role = (uint8_t)manners->role,
                                    .memory = manners->memory};
    memcpy(greeting->ours.key_id, lace_key_id(manners->key), LACE_KEY_ID);
    crypto_kx_keypair(greeting->ours.fresh, greeting->secret);
    authenticate(greeting, &greeting->ours, greeting->ours.mac);
}

static lace_status check_hello(const struct greeting *greeting)
{
    const struct hello *ours = &greeting->ours;
    const struct hello *theirs = &greeting->theirs;
    unsigned char mac[LACE_MAC];

    if (theirs->version != VERSION || theirs->memory > 1)
        return fail(LACE_FORGED, "the other side's greeting is damaged, or of another version of Interlace");
    if (memcmp(theirs->key_id, ours->key_id, LACE_KEY_ID) != 0) {
        char our_text[LACE_FINGERPRINT];
        char their_text[LACE_FINGERPRINT];

        lace_key_print(ours->key_id, our_text);
        lace_key_print(theirs->key_id, their_text);
        lace_explained(LACE_WRONG_KEY, "the two sides have different keys (ours %s, theirs %s)", our_text,
                       their_text);
        return LACE_WRONG_KEY;
    }
    authenticate(greeting, theirs, mac);
    if (sodium_memcmp(mac, theirs->mac, LACE_MAC) != 0)
        return fail(LACE_FORGED, "the other side's greeting does not fit its seal: it was damaged, or is meant for a "
                                 "channel with another label");
    if (memcmp(theirs->fresh, ours->fresh, sizeof ours->fresh) == 0)
        return fail(LACE_REPLAYED, "our own greeting came back");
    if (theirs->memory != ours->memory)
        return fail(LACE_SPLICED, ours->memory ? "the other side wants to talk through the socket, not through memory: its "
                                                 "address is no memory:NAME"
                                               : "the other side wants to talk through memory: its address is a "
                                                 "memory:NAME");
    if (theirs->role == ours->role || (theirs->role != LACE_ROLE_CLIENT && theirs->role != LACE_ROLE_SERVER))
        return fail(LACE_SPLICED, ours->role == LACE_ROLE_CLIENT ? "both sides of the connection are clients"
                                                                 : "both sides of the connection are servers");
    return LACE_OK;
}

/* What both sides hash: the client's HELLO, the server's, and which direction. */
struct transcript {
    struct hello client;
    struct hello server;
    uint8_t from; /* the role of who sends */
};
#define TRANSCRIPT (2 * sizeof(struct hello) + 1)

/* Makes `secret` of one direction its key; returns the stream's id. */
static uint64_t finish_direction(const struct greeting *greeting, uint8_t from, unsigned char secret[LACE_KEY_BYTES])
{
    static const unsigned char key_purpose[16] = "lace direction";
    static const unsigned char id_purpose[16] = "lace stream id";
    bool client = greeting->ours.role == LACE_ROLE_CLIENT;
    struct transcript transcript = {client ? greeting->ours : greeting->theirs,
                                    client ? greeting->theirs : greeting->ours, from};
    unsigned char hash[crypto_generichash_blake2b_BYTES_MIN];
    unsigned char input[LACE_KEY_BYTES + TRANSCRIPT];
    uint64_t id;

    memcpy(input, secret, LACE_KEY_BYTES);
    memcpy(input + LACE_KEY_BYTES, &transcript, TRANSCRIPT);
    crypto_generichash_blake2b_salt_personal(secret, LACE_KEY_BYTES, input, sizeof input, greeting->session_key,
                                             LACE_KEY_BYTES, NULL, key_purpose);
    crypto_generichash_blake2b_salt_personal(hash, sizeof hash, (const unsigned char *)&transcript, TRANSCRIPT, NULL,
                                             0, NULL, id_purpose);
    memcpy(&id, hash, sizeof id);
    sodium_memzero(input, sizeof input);
    return id;
}

/* The keys of both directions, and the streams' ids. */
static lace_status derive(struct greeting *greeting, uint64_t *ret_sent, uint64_t *ret_received)
{
    struct hello *ours = &greeting->ours;
    struct hello *theirs = &greeting->theirs;
    int (*exchange)(unsigned char *, unsigned char *, const unsigned char *, const unsigned char *,
                    const unsigned char *) = ours->role == LACE_ROLE_CLIENT ? crypto_kx_client_session_keys
                                                                            : crypto_kx_server_session_keys;

    if (exchange(greeting->received, greeting->sent, ours->fresh, greeting->secret, theirs->fresh) != 0)
        return fail(LACE_FORGED, "the other side's greeting has a key that is none");
    *ret_sent = finish_direction(greeting, ours->role, greeting->sent);
    *ret_received = finish_direction(greeting, theirs->role, greeting->received);
    return LACE_OK;
}

/* ---- greeting ----------------------------------------------------------------------------------------- */

static lace_status exchange_hellos(struct lace_call *call, struct greeting *greeting)
{
    struct hello *theirs = &greeting->theirs;
    lace_status status = write_exactly(call, &greeting->ours, sizeof greeting->ours);

    if (status == LACE_OK)
        status = read_exactly(call, &theirs->magic, sizeof theirs->magic);
    if (status == LACE_OK && theirs->magic == LACE_CHUNK_MAGIC)
        return fail(LACE_UNSEALED, "the other side does not seal its frames");
    if (status == LACE_OK && theirs->magic != LACE_GREETING_MAGIC)
        return fail(LACE_FORGED, "the other side does not greet: it does not seem to be Interlace");
    if (status == LACE_OK)
        status = read_exactly(call, (unsigned char *)theirs + sizeof theirs->magic,
                              sizeof *theirs - sizeof theirs->magic);
    return status == LACE_OK ? check_hello(greeting) : status;
}

static lace_status exchange_confirms(struct lace_call *call, struct greeting *greeting,
                                     struct lace_sealer **ret_sealer, struct lace_unsealer **ret_unsealer)
{
    unsigned char confirm[LACE_CONFIRM_SIZE];
    uint64_t sent;
    uint64_t received;
    struct lace_sealer *sealer;
    lace_status status = derive(greeting, &sent, &received);

    if (status == LACE_OK)
        status = lace_sealer_confirm(greeting->sent, sent, &sealer, confirm);
    if (status != LACE_OK)
        return status;
    status = write_exactly(call, confirm, sizeof confirm);
    if (status == LACE_OK)
        status = read_exactly(call, confirm, sizeof confirm);
    if (status == LACE_OK) {
        status = lace_unsealer_confirm(greeting->received, received, confirm, ret_unsealer);
        if (status == LACE_REPLAYED)
            fail(status, "the other side's greeting is an old one, played again");
        else if (status == LACE_FORGED)
            fail(status, "the other side could not prove that it has the key, or its proof was damaged");
        else if (status == LACE_UNSEALED)
            fail(status, "the other side greets and then does not seal its frames");
    }
    if (status == LACE_OK)
        *ret_sealer = sealer;
    else
        lace_sealer_destroy(sealer);
    return status;
}

lace_status lace_greet(struct lace_end *end, const struct lace_manners *manners, const lace_wait *wait,
                       struct lace_sealer **ret_sealer, struct lace_unsealer **ret_unsealer)
{
    struct lace_call call;
    struct greeting *greeting = lace_guarded_create(sizeof *greeting);

    if (greeting == NULL)
        return LACE_NOMEM;
    begin(greeting, manners);
    lace_status status = lace_call_enter(&call, end, wait);
    if (status == LACE_OK) {
        status = lace_turn_take(&call, true); /* nobody else can have it */
        if (status == LACE_OK) {
            status = exchange_hellos(&call, greeting);
            if (status == LACE_OK)
                status = exchange_confirms(&call, greeting, ret_sealer, ret_unsealer);
            int saved = errno;
            lace_turn_give(end->pipe);
            errno = saved;
        }
        lace_call_leave(&call);
        /* What its statistics tell begins after the greeting. */
        atomic_store_explicit(&end->waits, 0, memory_order_relaxed);
        atomic_store_explicit(&end->blocked, 0, memory_order_relaxed);
    }
    lace_guarded_destroy(greeting);
    return status;
}
