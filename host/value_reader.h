/* value_reader.h - a message that is being read: what value_read.c, value_attached.c and value_message.c share. */
#ifndef LACE_VALUE_READER_H
#define LACE_VALUE_READER_H

#include "value.h"
#include "value_op.h"

/* Where attachments come from. */
typedef struct lace_source {
    lace_message *message; /* one of the two */
    const lace_payload *payload;
    size_t count;
    bool *named;      /* by the pickle */
    lace_block *body; /* that the pickle is, or NULL */
    size_t first;     /* behind the body */
    size_t next;      /* that may be an out-of-band buffer */
    const unsigned char *letters;
    size_t letter_count, letters_read;
} lace_source;

typedef struct lace_reader {
    const unsigned char *at, *end; /* of the frame, or of what is in no frame */
    const unsigned char *data, *data_end;
    bool framed;
    size_t fence; /* the last mark, or 0: nothing below is to be touched */
    lace_source *from;
    lace_effort effort;
    lace_value **stack, **memo, **pending; /* handles; of what `pending` has, the attachments are still to be taken */
    size_t *marks;
    size_t stack_count, stack_room, mark_count, mark_room, memo_count, memo_room, pending_count, pending_room;
    size_t memo_used; /* entries of the memo that are not NULL */
    size_t own_marks[8];
    lace_value *own_stack[32], *own_memo[32];
} lace_reader;

/* value_read.c. The functions that say lace_status can fail with NOMEM and NOT_PLAIN. */

/* Reads a pickle, and takes what it names if all of it can be read. */
lace_status lace_reader_run(const unsigned char *data, size_t size, lace_source *from, lace_value **ret_value);

lace_status lace_reader_malformed(const lace_reader *r, const char *why);
lace_status lace_reader_text(lace_reader *r, uint64_t size); /* pushes a str */

/* Takes the value; what could not be made is out of memory. */
static inline lace_status lace_reader_push(lace_reader *r, lace_value *value)
{
    if (value == NULL || value->type == LACE_TYPE_FAILED)
        return lace_value_no_memory();
    if (r->stack_count == r->stack_room &&
        !lace_value_grow(&r->stack, &r->stack_room, sizeof *r->stack, r->own_stack)) {
        lace_value_destroy(value);
        return lace_value_no_memory();
    }
    r->stack[r->stack_count++] = value;
    return LACE_OK;
}

/* One more handle, while nobody else has the value. False: it has too many. */
static inline bool lace_reader_share(lace_value *value)
{
    if (value->flags & LACE_VALUE_STATIC)
        return true;
    uint64_t held = lace_value_held(value);
    if (held >= LACE_HELD_MOST << 32)
        return false;
    atomic_store_explicit(&value->held, held + LACE_HELD_ONE, memory_order_relaxed);
    return true;
}

/* Are there that many values above the last mark? */
static inline lace_status lace_reader_need(const lace_reader *r, size_t count)
{
    return r->stack_count - r->fence >= count ? LACE_OK : lace_reader_malformed(r, "an object is missing");
}

/* value_attached.c */

lace_attachment_kind lace_source_kind(const lace_source *from, size_t index);
lace_status lace_reader_next_buffer(lace_reader *r);
lace_status lace_reader_readonly_buffer(lace_reader *r);
lace_status lace_reader_stack_global(lace_reader *r);
lace_status lace_reader_reduce(lace_reader *r);
/* Has each pending value take what it stands for. What is taken then lies in the value. */
lace_status lace_reader_take_attachments(lace_reader *r);

#endif
