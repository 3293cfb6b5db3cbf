/* bits.h - a selector's bitmap: which of its cases are worth a look.
 *
 * Two levels of 64-bit words in the region: one bit per case, and above them one bit per word that is not zero. All
 * changes are made under the party's lock. The owner reads without it: an acquire that pairs with the release of the
 * change, so that whoever sees a bit sees the channel as it was when the bit was set.
 */
#ifndef LACE_BITS_H
#define LACE_BITS_H

#include "party.h"

struct lace_bits {
    _Atomic uint64_t *words;    /* one bit per case */
    _Atomic uint64_t *summary;  /* one bit per word */
    uint32_t cases;
};

static inline uint64_t lace_bits_words(uint64_t cases)
{
    return (cases + 63) / 64;
}

/* Bytes that the bitmap of so many cases takes. */
static inline uint64_t lace_bits_size(uint64_t cases)
{
    return (lace_bits_words(cases) + lace_bits_words(lace_bits_words(cases))) * sizeof(uint64_t);
}

/* Finds a party's bits; false when the region is damaged. */
static inline bool lace_bits_find(const struct lace_region *region, const struct lace_party *party,
                                  struct lace_bits *ret_bits)
{
    uint64_t words = lace_bits_words(party->cases);
    _Atomic uint64_t *base = lace_region_at(region, party->bits, lace_bits_size(party->cases), 64);

    if (base == NULL)
        return false;
    *ret_bits = (struct lace_bits){.words = base, .summary = base + words, .cases = party->cases};
    return true;
}

/* Under the party's lock. */
static inline void lace_bits_set(const struct lace_region *region, struct lace_party *party, uint32_t index)
{
    struct lace_bits bits;

    if (index >= party->cases || !lace_bits_find(region, party, &bits))
        return;
    uint32_t word = index / 64;
    uint64_t was = atomic_load_explicit(&bits.words[word], memory_order_relaxed);
    uint64_t bit = (uint64_t)1 << (index % 64);

    if (was & bit)
        return;
    LACE_KEEP(bits.words[word]);
    atomic_store_explicit(&bits.words[word], was | bit, memory_order_release);
    uint64_t above = atomic_load_explicit(&bits.summary[word / 64], memory_order_relaxed);
    LACE_KEEP(bits.summary[word / 64]);
    atomic_store_explicit(&bits.summary[word / 64], above | (uint64_t)1 << (word % 64), memory_order_release);
}

/* Under the party's lock. */
static inline void lace_bits_clear(struct lace_bits *bits, uint32_t index)
{
    uint32_t word = index / 64;
    uint64_t left = atomic_load_explicit(&bits->words[word], memory_order_relaxed) & ~((uint64_t)1 << (index % 64));

    LACE_KEEP(bits->words[word]);
    atomic_store_explicit(&bits->words[word], left, memory_order_release);
    if (left == 0) {
        uint64_t above = atomic_load_explicit(&bits->summary[word / 64], memory_order_relaxed);
        LACE_KEEP(bits->summary[word / 64]);
        atomic_store_explicit(&bits->summary[word / 64], above & ~((uint64_t)1 << (word % 64)),
                              memory_order_release);
    }
}

/* The first bit set at `from` or above; `cases` when there is none. */
static inline uint32_t lace_bits_next(const struct lace_bits *bits, uint32_t from)
{
    uint32_t words = (uint32_t)lace_bits_words(bits->cases);

    if (from >= bits->cases)
        return bits->cases;
    uint32_t word = from / 64;
    uint64_t here = atomic_load_explicit(&bits->words[word], memory_order_acquire) & ~(uint64_t)0 << (from % 64);
    if (here != 0)
        return word * 64 + (uint32_t)__builtin_ctzll(here);
    for (uint32_t next = word + 1; next < words;) {
        uint64_t above = atomic_load_explicit(&bits->summary[next / 64], memory_order_acquire) &
                         ~(uint64_t)0 << (next % 64);
        if (above == 0) {
            next = (next / 64 + 1) * 64;
            continue;
        }
        next = next / 64 * 64 + (uint32_t)__builtin_ctzll(above);
        if (next >= words)
            break;
        here = atomic_load_explicit(&bits->words[next], memory_order_acquire);
        if (here != 0) {
            uint32_t found = next * 64 + (uint32_t)__builtin_ctzll(here);
            return found < bits->cases ? found : bits->cases;
        }
        next++;
    }
    return bits->cases;
}

#endif
