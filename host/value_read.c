/* value_read.c - pickles to values.
 *
 * The bytes may be anything, and may even change while they are read. Nothing here calls or imports anything. Each
 * number is read once, each text is copied before it is checked. Every size is compared with what is left of the
 * bytes before something is allocated for it, and each opcode grows each of the reader's stacks by one entry at most.
 * */
#include "value_reader.h"

#include <endian.h>
#include <string.h>

#define LAID_FROM ((size_t)16 << 10) /* bytes of that size stay in the block that the message is */

/* ---- mistakes ------------------------------------------------------------------------------------------- */

lace_status lace_reader_malformed(const lace_reader *r, const char *why)
{
    return lace_object(LACE_NOT_PLAIN, "this is no pickle: %s at byte %zu", why, (size_t)(r->at - r->data));
}

static lace_status cut_short(const lace_reader *r)
{
    return lace_reader_malformed(r, "it ends too early");
}

static lace_status endless(void)
{
    return lace_object(LACE_NOT_PLAIN, "an object that contains itself is no plain value");
}

/* What an opcode would have been that is not for plain values. */
static lace_status refused(const lace_reader *r, unsigned op)
{
    static const struct {
        unsigned char op;
        const char *what;
    } others[] = {
        {0x8f, "a set"},
        {0x90, "a set"},
        {0x91, "a frozenset"},
        {'b', "an instance"},
        {'i', "an instance"},
        {'o', "an instance"},
        {0x81, "an instance"},
        {0x92, "an instance"},
        {0x82, "an object of copyreg's"},
        {0x83, "an object of copyreg's"},
        {0x84, "an object of copyreg's"},
        {'P', "an object outside the pickle"},
        {'Q', "an object outside the pickle"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (others[i].op == op)
            return lace_object(LACE_NOT_PLAIN, "%s is no plain value", others[i].what);
    }
    if (op != 0 && strchr("IFLSTUVgpld2", (int)op) != NULL)
        return lace_object(LACE_NOT_PLAIN, "this pickle is of protocol 0 or 1: 2 and later can be read");
    return lace_reader_malformed(r, "there is an opcode that is none");
}

/* ---- the stacks ----------------------------------------------------------------------------------------- */

static inline void drop_to(lace_reader *r, size_t place)
{
    while (r->stack_count > place)
        lace_value_destroy(r->stack[--r->stack_count]);
}

static inline void set_fence(lace_reader *r)
{
    r->fence = r->mark_count > 0 ? r->marks[r->mark_count - 1] : 0;
}

static lace_status mark(lace_reader *r)
{
    if (r->mark_count == r->mark_room && !lace_value_grow(&r->marks, &r->mark_room, sizeof *r->marks, r->own_marks))
        return lace_value_no_memory();
    r->fence = r->marks[r->mark_count++] = r->stack_count;
    return LACE_OK;
}

/* Removes the last mark; *ret_place is where it was. */
static lace_status unmark(lace_reader *r, size_t *ret_place)
{
    if (r->mark_count == 0)
        return lace_reader_malformed(r, "a mark is missing");
    *ret_place = r->marks[--r->mark_count];
    set_fence(r);
    return LACE_OK;
}

static lace_status pop(lace_reader *r)
{
    if (r->mark_count > 0 && r->marks[r->mark_count - 1] == r->stack_count) {
        r->mark_count--; /* pickle's stack has the marks in it */
        set_fence(r);
        return LACE_OK;
    }
    lace_status status = lace_reader_need(r, 1);
    if (status == LACE_OK)
        drop_to(r, r->stack_count - 1);
    return status;
}

/* ---- the memo ------------------------------------------------------------------------------------------- */

static lace_status memo_put(lace_reader *r, size_t index)
{
    lace_status status = lace_reader_need(r, 1);
    if (status != LACE_OK)
        return status;
    /* Pickle numbers them as they come: an index beyond the bytes that have been read is not its. */
    if (index > (size_t)(r->at - r->data))
        return lace_reader_malformed(r, "a number in the memo is too high");
    while (index >= r->memo_room) {
        if (!lace_value_grow(&r->memo, &r->memo_room, sizeof *r->memo, r->own_memo))
            return lace_value_no_memory();
    }
    while (r->memo_count <= index)
        r->memo[r->memo_count++] = NULL;
    lace_value *value = r->stack[r->stack_count - 1];
    if (!lace_reader_share(value))
        return lace_value_no_memory();
    r->memo_used += r->memo[index] == NULL;
    lace_value_destroy(r->memo[index]);
    r->memo[index] = value;
    return LACE_OK;
}

static lace_status memo_get(lace_reader *r, size_t index)
{
    if (index >= r->memo_count || r->memo[index] == NULL)
        return lace_reader_malformed(r, "what it refers to has not been there");
    return lace_reader_share(r->memo[index]) ? lace_reader_push(r, r->memo[index]) : lace_value_no_memory();
}

/* ---- bytes ---------------------------------------------------------------------------------------------- */

/* There are no `size` bytes left in the frame: are there behind it? */
static lace_status leave_frame(lace_reader *r, uint64_t size)
{
    if (r->framed && r->at != r->end)
        return lace_reader_malformed(r, "something lies across the end of a frame");
    r->framed = false;
    r->end = r->data_end;
    return size <= (uint64_t)(r->end - r->at) ? LACE_OK : cut_short(r);
}

/* *ret_bytes are the next `size` ones. */
static inline lace_status take(lace_reader *r, uint64_t size, const unsigned char **ret_bytes)
{
    if (size > (uint64_t)(r->end - r->at)) {
        lace_status status = leave_frame(r, size);
        if (status != LACE_OK)
            return status;
    }
    *ret_bytes = r->at;
    r->at += size;
    return LACE_OK;
}

/* A number of 1, 2, 4 or 8 bytes: a constant wherever this is used, so that the copy is one instruction. */
static inline __attribute__((always_inline)) lace_status number(lace_reader *r, size_t width, uint64_t *ret_number)
{
    const unsigned char *bytes;
    lace_status status = take(r, width, &bytes);
    if (status != LACE_OK)
        return status;
    uint64_t value = 0;
    memcpy(&value, bytes, width);
    *ret_number = le64toh(value);
    return LACE_OK;
}

/* A frame says how much may be read ahead, which is nothing to us; but nothing may lie across its end. */
static lace_status frame(lace_reader *r)
{
    uint64_t size = 0;
    lace_status status = number(r, 8, &size);
    if (status != LACE_OK)
        return status;
    if (r->framed && r->at != r->end)
        return lace_reader_malformed(r, "a frame begins inside another");
    if (size > (uint64_t)(r->data_end - r->at))
        return cut_short(r);
    r->framed = true;
    r->end = r->at + size;
    return LACE_OK;
}

/* ---- leaves --------------------------------------------------------------------------------------------- */

static lace_status big_int(lace_reader *r, uint64_t size)
{
    const unsigned char *bytes;
    if (size > INT32_MAX)
        return lace_reader_malformed(r, "an int has less than no bytes");
    lace_status status = take(r, size, &bytes);
    return status == LACE_OK ? lace_reader_push(r, lace_value_of_bytes(bytes, size)) : status;
}

static lace_status binfloat(lace_reader *r)
{
    const unsigned char *bytes;
    lace_status status = take(r, 8, &bytes);
    if (status != LACE_OK)
        return status;
    uint64_t bits;
    memcpy(&bits, bytes, sizeof bits);
    bits = be64toh(bits);
    double real;
    memcpy(&real, &bits, sizeof real);
    return lace_reader_push(r, lace_value_float(real));
}

lace_status lace_reader_text(lace_reader *r, uint64_t size)
{
    const unsigned char *bytes;
    lace_status status = take(r, size, &bytes);
    if (status != LACE_OK)
        return status;
    struct lace_text *made = lace_text_make(size, LACE_TYPE_STR, 0);
    if (made == NULL)
        return lace_value_no_memory();
    memcpy(made->bytes, bytes, size);
    if (!lace_text_is_utf8(made->bytes, size)) {
        free(made);
        return lace_reader_malformed(r, "a str that is not UTF-8 ends");
    }
    return lace_reader_push(r, &made->value);
}

/* Bytes that stay in the block that they came in. */
static lace_value *laid_on(lace_block *body, const unsigned char *bytes, size_t size)
{
    struct lace_laid *laid = lace_value_make(sizeof *laid, LACE_TYPE_BYTES, LACE_VALUE_LAID);
    if (laid != NULL && lace_block_share(body, &laid->block) != LACE_OK) {
        free(laid);
        laid = NULL;
    }
    if (laid == NULL)
        return NULL;
    laid->data = bytes;
    laid->size = size;
    atomic_init(&laid->readonly, true);
    return &laid->value;
}

static lace_status bytes_object(lace_reader *r, uint64_t size)
{
    const unsigned char *bytes;
    lace_status status = take(r, size, &bytes);
    if (status != LACE_OK)
        return status;
    if (r->from->body != NULL && size >= LAID_FROM)
        return lace_reader_push(r, laid_on(r->from->body, bytes, size));
    return lace_reader_push(r, lace_value_bytes(bytes, size));
}

/* ---- containers ----------------------------------------------------------------------------------------- */

/* Puts the values from `place` on, `count` of them, into the container. They are left with the reader on failure. */
static lace_status fill(lace_reader *r, struct lace_items *items, size_t place)
{
    size_t count = r->stack_count - place, room = items->as.room * 2;
    for (size_t i = place; i < r->stack_count; i++) {
        if (r->stack[i]->type == LACE_TYPE_FUNCTION)
            return lace_object(LACE_NOT_PLAIN, "a function is no plain value");
        if (r->stack[i] == &items->value)
            return endless();
    }
    if (items->size + count > items->as.room) {
        room = room > items->size + count ? room : items->size + count;
        if (!lace_items_reserve(items, room))
            return lace_value_no_memory();
    }
    for (size_t i = place; i < r->stack_count; i++) {
        lace_value_place(r->stack[i]);
        items->items[items->size++] = r->stack[i];
    }
    r->stack_count = place;
    return LACE_OK;
}

/* Makes the values from `place` on into a tuple, which takes their place. */
static lace_status make_tuple(lace_reader *r, size_t place)
{
    lace_value *tuple = lace_value_tuple();
    if (tuple->type == LACE_TYPE_FAILED)
        return LACE_NOMEM;
    lace_status status = fill(r, (struct lace_items *)tuple, place);
    if (status == LACE_OK)
        return lace_reader_push(r, tuple);
    lace_value_destroy(tuple);
    return status;
}

/* The list or dict below `place`, which may be filled: nothing that is in something else may. */
static lace_status open_below(lace_reader *r, size_t place, lace_type type, lace_value **ret_container)
{
    if (place <= r->fence || place > r->stack_count)
        return lace_reader_malformed(r, "an object is missing");
    lace_value *container = r->stack[place - 1];
    if (container->type != type)
        return lace_reader_malformed(r, "something is added to what is not a list or dict");
    if ((lace_value_held(container) & LACE_HELD_PLACES) != 0 && place < r->stack_count)
        return endless();
    *ret_container = container;
    return LACE_OK;
}

static lace_status append(lace_reader *r, size_t place)
{
    lace_value *list = NULL;
    lace_status status = open_below(r, place, LACE_TYPE_LIST, &list);
    return status == LACE_OK ? fill(r, (struct lace_items *)list, place) : status;
}

/* Puts the keys and items from `place` on into the dict below them. */
static lace_status set_items(lace_reader *r, size_t place)
{
    lace_value *dict = NULL;
    lace_status status = open_below(r, place, LACE_TYPE_DICT, &dict);
    if (status != LACE_OK)
        return status;
    if ((r->stack_count - place) % 2 != 0)
        return lace_reader_malformed(r, "a key has no item");
    size_t done = place;
    for (; done < r->stack_count && status == LACE_OK; done += 2) {
        lace_value *key = r->stack[done], *item = r->stack[done + 1];
        if (key == dict || item == dict)
            status = endless();
        else if (item->type == LACE_TYPE_FUNCTION)
            status = lace_object(LACE_NOT_PLAIN, "a function is no plain value");
        else
            status = lace_dict_put((struct lace_dict *)dict, key, item, &r->effort);
        if (status != LACE_OK)
            break;
    }
    /* The dict has those before `done`. */
    for (size_t i = done; i < r->stack_count; i++)
        lace_value_destroy(r->stack[i]);
    r->stack_count = place;
    if (status == LACE_MISMATCH)
        return lace_object(LACE_NOT_PLAIN, "a key in the message is a list, a dict or a buffer");
    if (status == LACE_TOO_BIG)
        return lace_object(LACE_NOT_PLAIN, "the keys in the message take too long to compare");
    return status;
}

/* ---- names -------------------------------------------------------------------------------------------- */

/* Pushes the text up to the next newline. */
static lace_status line(lace_reader *r)
{
    const unsigned char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (newline == NULL)
        return cut_short(r);
    lace_status status = lace_reader_text(r, (uint64_t)(newline - r->at));
    r->at += status == LACE_OK;
    return status;
}

static lace_status global(lace_reader *r)
{
    lace_status status = r->at < r->end ? LACE_OK : leave_frame(r, 1);
    if (status == LACE_OK)
        status = line(r);
    if (status == LACE_OK)
        status = line(r);
    return status == LACE_OK ? lace_reader_stack_global(r) : status;
}

/* ---- opcodes -------------------------------------------------------------------------------------------- */

/* The three stages of an opcode with a number: read it, then do this with it. */
#define WITH_NUMBER(width, what)       \
    status = number(r, width, &value); \
    if (status == LACE_OK)             \
        status = (what);               \
    break

/* And of one with the values above the last mark, or the uppermost. */
#define FROM_MARK(what)         \
    status = unmark(r, &place); \
    if (status == LACE_OK)      \
        status = (what);        \
    break

#define FROM_TOP(count, what)            \
    status = lace_reader_need(r, count); \
    place = r->stack_count - (count);    \
    if (status == LACE_OK)               \
        status = (what);                 \
    break

static lace_status run(lace_reader *r)
{
    uint64_t value = 0;
    size_t place = 0;
    for (;;) {
        lace_status status = r->at == r->end ? leave_frame(r, 1) : LACE_OK;
        if (status != LACE_OK)
            return status;
        unsigned op = *r->at++;
        switch (op) {
        case OP_PROTO:
            WITH_NUMBER(1, value <= 5 ? LACE_OK : lace_reader_malformed(r, "a protocol that is not known yet"));
        case OP_FRAME:
            status = frame(r);
            break;
        case OP_NONE:
            status = lace_reader_push(r, lace_value_none());
            break;
        case OP_NEWTRUE:
        case OP_NEWFALSE:
            status = lace_reader_push(r, lace_value_bool(op == OP_NEWTRUE));
            break;
        case OP_BININT1:
            WITH_NUMBER(1, lace_reader_push(r, lace_value_int((int64_t)value)));
        case OP_BININT2:
            WITH_NUMBER(2, lace_reader_push(r, lace_value_int((int64_t)value)));
        case OP_BININT:
            WITH_NUMBER(4, lace_reader_push(r, lace_value_int((int32_t)(uint32_t)value)));
        case OP_LONG1:
            WITH_NUMBER(1, big_int(r, value));
        case OP_LONG4:
            WITH_NUMBER(4, big_int(r, value));
        case OP_BINFLOAT:
            status = binfloat(r);
            break;
        case OP_SHORT_BINUNICODE:
            WITH_NUMBER(1, lace_reader_text(r, value));
        case OP_BINUNICODE:
            WITH_NUMBER(4, lace_reader_text(r, value));
        case OP_BINUNICODE8:
            WITH_NUMBER(8, lace_reader_text(r, value));
        case OP_SHORT_BINBYTES:
            WITH_NUMBER(1, bytes_object(r, value));
        case OP_BINBYTES:
            WITH_NUMBER(4, bytes_object(r, value));
        case OP_BINBYTES8:
        case OP_BYTEARRAY8:
            WITH_NUMBER(8, bytes_object(r, value));
        case OP_NEXT_BUFFER:
            status = lace_reader_next_buffer(r);
            break;
        case OP_READONLY_BUFFER:
            status = lace_reader_readonly_buffer(r);
            break;
        case OP_MEMOIZE:
            status = memo_put(r, r->memo_used);
            break;
        case OP_BINPUT:
            WITH_NUMBER(1, memo_put(r, value));
        case OP_LONG_BINPUT:
            WITH_NUMBER(4, memo_put(r, value));
        case OP_BINGET:
            WITH_NUMBER(1, memo_get(r, value));
        case OP_LONG_BINGET:
            WITH_NUMBER(4, memo_get(r, value));
        case OP_MARK:
            status = mark(r);
            break;
        case OP_POP:
            status = pop(r);
            break;
        case OP_POP_MARK:
            FROM_MARK((drop_to(r, place), LACE_OK));
        case OP_EMPTY_TUPLE:
            status = lace_reader_push(r, lace_value_tuple());
            break;
        case OP_TUPLE1:
            FROM_TOP(1, make_tuple(r, place));
        case OP_TUPLE2:
            FROM_TOP(2, make_tuple(r, place));
        case OP_TUPLE3:
            FROM_TOP(3, make_tuple(r, place));
        case OP_TUPLE:
            FROM_MARK(make_tuple(r, place));
        case OP_EMPTY_LIST:
            status = lace_reader_push(r, lace_value_list());
            break;
        case OP_EMPTY_DICT:
            status = lace_reader_push(r, lace_value_dict());
            break;
        case OP_APPEND:
            FROM_TOP(1, append(r, place));
        case OP_APPENDS:
            FROM_MARK(append(r, place));
        case OP_SETITEM:
            FROM_TOP(2, set_items(r, place));
        case OP_SETITEMS:
            FROM_MARK(set_items(r, place));
        case OP_GLOBAL:
            status = global(r);
            break;
        case OP_STACK_GLOBAL:
            status = lace_reader_stack_global(r);
            break;
        case OP_REDUCE:
            status = lace_reader_reduce(r);
            break;
        case OP_STOP:
            status = lace_reader_need(r, 1);
            if (status == LACE_OK && r->stack[r->stack_count - 1]->type == LACE_TYPE_FUNCTION)
                status = lace_object(LACE_NOT_PLAIN, "a function is no plain value");
            return status;
        default:
            return refused(r, op);
        }
        if (status != LACE_OK)
            return status;
    }
}

/* ---- messages ------------------------------------------------------------------------------------------- */

lace_status lace_reader_run(const unsigned char *data, size_t size, lace_source *from, lace_value **ret_value)
{
    lace_reader r;
    r.at = r.data = data;
    r.end = r.data_end = data + size;
    r.framed = false;
    r.fence = r.stack_count = r.mark_count = r.memo_count = r.memo_used = r.pending_count = r.pending_room = 0;
    r.from = from;
    r.effort.left = ((uint64_t)1 << 16) + (uint64_t)size * 16;
    r.stack = r.own_stack;
    r.stack_room = sizeof r.own_stack / sizeof *r.own_stack;
    r.memo = r.own_memo;
    r.memo_room = sizeof r.own_memo / sizeof *r.own_memo;
    r.marks = r.own_marks;
    r.mark_room = sizeof r.own_marks / sizeof *r.own_marks;
    r.pending = NULL;
    lace_value *value = NULL;
    lace_status status = run(&r);
    if (status == LACE_OK)
        status = lace_reader_take_attachments(&r);
    if (status == LACE_OK)
        value = r.stack[--r.stack_count];
    drop_to(&r, 0);
    while (r.memo_count > 0)
        lace_value_destroy(r.memo[--r.memo_count]);
    while (r.pending_count > 0)
        lace_value_destroy(r.pending[--r.pending_count]);
    if (r.stack != r.own_stack)
        free(r.stack);
    if (r.memo != r.own_memo)
        free(r.memo);
    if (r.marks != r.own_marks)
        free(r.marks);
    free(r.pending);
    if (status == LACE_OK)
        *ret_value = value;
    return status;
}
