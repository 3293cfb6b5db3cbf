/* site.c - where in Python a channel was made: a number for each line, found again by code object and instruction, so that
 * it costs a look-up where channels are made again and again. */
#include "site.h"

#include <stdlib.h>
#include <string.h>

#define MOST 4096    /* sites; what is made elsewhere has none */
#define BUCKETS 1024 /* a power of two */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the rest; held for a few instructions */
static lace_site all[MOST];
static uint32_t next_of[MOST]; /* in a bucket's chain; like `first`, number or 0 */
static uint32_t first[BUCKETS];
static uint32_t count;
static uint32_t above; /* in a child: what is added to its numbers; set before there are any */

void lace_site_number_from(unsigned seat)
{
    above = seat * (MOST + 1);
}

bool lace_site_find(uint32_t number, lace_site *ret_site)
{
    pthread_mutex_lock(&lock);
    bool found = number > above && number - above <= count;
    if (found)
        *ret_site = all[number - above - 1];
    pthread_mutex_unlock(&lock);
    return found;
}

/* The number of a site, a new one if need be. */
static uint32_t intern(const char *file, const char *function, int line)
{
    uint32_t *bucket = &first[(unsigned)line % BUCKETS];
    pthread_mutex_lock(&lock);
    uint32_t number = *bucket;
    while (number != 0 && (all[number - 1].line != line || strcmp(all[number - 1].file, file) != 0 ||
                           strcmp(all[number - 1].function, function) != 0))
        number = next_of[number - 1];
    if (number == 0 && count < MOST) {
        lace_site made = {.file = strdup(file), .function = strdup(function), .line = line};
        if (made.file != NULL && made.function != NULL) {
            all[count] = made;
            next_of[count] = *bucket;
            *bucket = number = ++count;
        } else {
            free(made.file);
            free(made.function);
        }
    }
    pthread_mutex_unlock(&lock);
    return number != 0 ? above + number : 0;
}

static bool is_ours(PyCodeObject *code)
{
    const char *file = PyUnicode_AsUTF8(code->co_filename);
    return file != NULL && strncmp(file, "<interlace>", strlen("<interlace>")) == 0;
}

static uint32_t intern_line(PyCodeObject *code, int line)
{
    const char *file = PyUnicode_AsUTF8(code->co_filename), *function = PyUnicode_AsUTF8(code->co_qualname);
    uint32_t number = file && function ? intern(file, function, line) : 0;
    PyErr_Clear();
    return number;
}

/* The line that called our own code. */
static uint32_t find_caller(PyThreadState *tstate)
{
    PyFrameObject *frame = PyThreadState_GetFrame(tstate);
    uint32_t number = 0;
    while (frame != NULL) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        bool ours = is_ours(code);
        if (!ours)
            number = intern_line(code, PyFrame_GetLineNumber(frame));
        Py_DECREF(code);
        Py_SETREF(frame, ours ? PyFrame_GetBack(frame) : NULL);
    }
    return number;
}

uint32_t lace_site_here(lace_sites *sites)
{
    PyThreadState *tstate = PyThreadState_Get();
    if (tstate->current_frame == NULL)
        return 0;
    PyObject *code = PyUnstable_InterpreterFrame_GetCode(tstate->current_frame);
    int offset = PyUnstable_InterpreterFrame_GetLasti(tstate->current_frame);
    size_t place = (((uintptr_t)code >> 4) ^ (unsigned)offset >> 1) % LACE_SITES_KEPT;
    if (sites->kept[place].code == code && sites->kept[place].offset == offset) {
        Py_DECREF(code);
        return sites->kept[place].number;
    }
    if (!PyCode_Check(code) || is_ours((PyCodeObject *)code)) {
        Py_DECREF(code);
        return find_caller(tstate);
    }
    uint32_t number = intern_line((PyCodeObject *)code, PyCode_Addr2Line((PyCodeObject *)code, offset));
    PyObject *before = sites->kept[place].code;
    sites->kept[place].code = code;
    sites->kept[place].offset = offset;
    sites->kept[place].number = number;
    Py_XDECREF(before);
    return number;
}

void lace_sites_clear(lace_sites *sites)
{
    for (size_t i = 0; i < LACE_SITES_KEPT; i++)
        Py_CLEAR(sites->kept[i].code);
}
