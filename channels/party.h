/* party.h - who waits: the record of one waiting thread or selector, and its registrations at channels.
 *
 * A party is OPEN while it may be claimed. Whoever has something for it (a message, room for its message, the news
 * that a channel closed) claims it: OPEN -> CLOSED under its lock, once, by exactly one of all the channels, tokens
 * and timers that compete. The claimer then stores the result and, last, sets `signal` to DONE. So waking up always
 * means a result, and nobody needs to pass a wake-up on. An owner that gives up (deadline, cancel), or finds
 * something itself, withdraws its party: OPEN -> WITHDRAWN, the same to everybody else. When that fails, a result is
 * on its way, and it waits for DONE.
 *
 * Locks, in this order: living regions < channel < cancel token, or pipe's reader < pipe < party (two parties: the
 * lower address first) < heap classes < heap. Blocks' locks and that of the orphans are leaves. A token's lock and a
 * channel's are never held together.
 *
 * Memory order: what the claimer wrote (the result, a message in the slot) is published by the release of DONE in
 * `signal`, which pairs with the owner's acquire of it. After DONE the claimer does not touch the party any more, but
 * for a futex wake of its address, which may be spurious.
 *
 * A child process that claims another's party says so in its lane first; see lane.h.
 */
#ifndef LACE_PARTY_H
#define LACE_PARTY_H

#include "held.h"
#include "lock.h"

enum { LACE_PARTY_CLOSED, LACE_PARTY_OPEN, LACE_PARTY_WITHDRAWN };
enum { LACE_SIGNAL_RUNNING, LACE_SIGNAL_ASLEEP, LACE_SIGNAL_DONE };

#define LACE_PARTY_MAGIC UINT32_C(0x4c504152)
#define LACE_SIGNAL_STATE(signal) ((signal) & 3u) /* the rest is the epoch... */
#define LACE_SIGNAL_NEXT(signal) (((signal) | 3u) + 1) /* ... and this the next one's, RUNNING */

/* Results that only the library itself sees, beside lace_status. */
#define LACE_RETRY ((lace_status)1000) /* look again: something closed */
#define LACE_AGAIN ((lace_status)1001) /* it cannot be done without waiting */
#define LACE_TAKEN ((lace_status)1002) /* the own party has been claimed meanwhile */

#define LACE_NO_CASE UINT32_MAX

/* One registration of a party in a channel's list. Guarded by the lock of the channel it is (or was) linked in. */
struct lace_node {
    uint64_t next; /* offsets of the neighbours in the list */
    uint64_t previous;
    uint64_t party;
    uint64_t slot; /* where a message goes to, or lies */
    uint64_t end;  /* id of the end that waits here */
    uint64_t held; /* a child's record of the message in the slot: changed by whoever takes it out, or puts it in */
    uint32_t index;
    uint8_t linked;
    uint8_t persistent; /* of a selector: stays in the list when claimed */
    uint16_t seat;      /* its owner's process; constant */
};

struct lace_party {
    uint32_t magic;          /* LACE_PARTY_MAGIC in a region */
    struct lace_lock lock;   /* guards the change of state, and the bits of a selector */
    _Atomic uint32_t state;  /* OPEN, CLOSED, WITHDRAWN; read without the lock as a hint only */
    _Atomic uint32_t signal; /* the futex word: RUNNING, ASLEEP or DONE, and above that the epoch: how often the party has
                              * been opened, so that one of another time is not taken for it */
    uint32_t index;          /* the result: the case or LACE_NO_CASE; the claimer's until DONE, then the owner's */
    uint32_t status;         /* and its lace_status or LACE_RETRY */
    int32_t event;           /* an eventfd to write to before DONE (from another process: after it,
                              by its bell thread), or -1; changed by the owner while CLOSED */
    uint64_t bits;           /* a selector's bitmap of cases to look at, or 0; constant while registered */
    uint32_t cases;          /* how many bits it has */
    uint32_t seat;           /* its owner's process; constant. Only there does `event` mean anything */
    uint64_t held;           /* a child's record of this memory; the owner's */
    uint64_t sequence;       /* of the message it was handed, or had taken, in the channel; written by the claimer */
    struct lace_node node;              /* for waits on one channel */
    _Alignas(64) struct lace_slot slot; /* for a received message, or the one to send */
};

/* Futex words to wake once the locks are dropped. */
#define LACE_WAKES 8
struct lace_wakes {
    unsigned count;
    _Atomic uint32_t *words[LACE_WAKES];
};

static inline void lace_wakes_flush(struct lace_wakes *wakes)
{
    for (unsigned i = 0; i < wakes->count; i++)
        lace_futex_wake(wakes->words[i], 1);
    wakes->count = 0;
}

/* OPEN -> CLOSED; whether it was the caller who did it. `region` is the party's; NULL for one of the process's own. */
bool lace_party_claim(const struct lace_region *region, struct lace_party *party);

/* By the owner: OPEN -> WITHDRAWN. Whether it is withdrawn now; false: somebody else has claimed it. */
bool lace_party_withdraw(struct lace_party *party);

/* By the owner: whether somebody has claimed it since it was opened. Its result is there, or on its way. */
bool lace_party_claimed(struct lace_party *party);

/* The same as lace_party_claim for a selector's party. When it is closed already, or `always`, its bit `index` is set
 * in the same locked section: a selector opens its party only where it sees, under that lock, that no bit is set. */
bool lace_party_claim_or_mark(struct lace_region *region, struct lace_party *party, uint32_t index, bool always);

/* Withdraws `mine` and claims `other`, both or none: LACE_OK, LACE_TAKEN when mine was claimed, LACE_AGAIN when the
 * other was (its bit `index` is set then, if it is a selector's). */
lace_status lace_party_claim_pair(struct lace_region *region, struct lace_party *mine, struct lace_party *other,
                                  uint32_t index, bool persistent);

/* Tells a claimed party its result. `region` is the party's; NULL for one of the process's own. */
void lace_party_finish(const struct lace_region *region, struct lace_party *party, uint32_t index,
                       lace_status status, struct lace_wakes *wakes);

/* Makes a party of memory in a region. Its node is not filled in. */
void lace_party_begin(const struct lace_region *region, struct lace_party *party);

/* A new epoch, RUNNING. It must be registered nowhere, or CLOSED. */
void lace_party_renew(struct lace_party *party);

/* Makes the owner's party ready for another wait: running and OPEN. It must be registered nowhere. */
void lace_party_open(struct lace_party *party);

/* Spins a while if that has paid lately, then sleeps, until the party is DONE (true) or `deadline` has passed. */
bool lace_party_wait(struct lace_party *party, int64_t deadline, bool spin);

/* Whether its result is there; an acquire. */
bool lace_party_done(struct lace_party *party);

/* Gives the calling thread a party of the region, from its cache or new: NULL when there is no memory. */
struct lace_party *lace_party_get(struct lace_region *region);
void lace_party_put(struct lace_region *region, struct lace_party *party);

/* Spinning without being registered: begin, then `while (lace_spin(&spin) && !ready())`, then end. */
struct lace_spin {
    int64_t started;
    int64_t limit;
    unsigned turns;
};
void lace_spin_begin(struct lace_spin *spin);
void lace_spin_begin_brief(
    struct lace_spin *spin); /* a microsecond or two, none where spinning does not pay; no end */
bool lace_spin(struct lace_spin *spin);
void lace_spin_end(struct lace_spin *spin, bool paid);

#endif
