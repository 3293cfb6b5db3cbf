/* host.c - the main interpreter: up, idle, down; and what there is one of in the process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "directory.h"
#include "host.h"
#include "module.h"
#include "frozen.h"

/* Taken around creating and ending interpreters, by threads without a thread state. CPython has open races there. */
static pthread_mutex_t lifecycle = PTHREAD_MUTEX_INITIALIZER;

/* Written by open and close, which one thread calls while no worker is alive. */
static lace_region *region;
static lace_scope *scope;
static PyThreadState *main_tstate;

void lace_lifecycle_lock(void)
{
    pthread_mutex_lock(&lifecycle);
}

void lace_lifecycle_unlock(void)
{
    pthread_mutex_unlock(&lifecycle);
}

lace_region *lace_host_region(void)
{
    return region;
}

lace_scope *lace_host_scope(void)
{
    return scope;
}

static const char *sentence(const char *format, const char *detail)
{
    char *text = NULL;
    return asprintf(&text, format, detail) < 0 ? "out of memory" : text;
}

/* The Python whose environment the workers have: that of an active virtual environment of our version, else the one
 * this was built with. Gives a malloc'ed path. */
static char *choose_executable(void)
{
    const char *venv = getenv("VIRTUAL_ENV");
    char *path = NULL;
    if (venv != NULL && venv[0] != '\0') {
        char version[32];
        snprintf(version, sizeof version, "%d.%d", PY_MAJOR_VERSION, PY_MINOR_VERSION);
        if (asprintf(&path, "%s/bin/python%s", venv, version) < 0)
            return NULL;
        if (access(path, X_OK) == 0)
            return path;
        lace_complain("the virtual environment %s has no python%s: going on without it", venv, version);
        free(path);
    }
    return strdup(LACE_PYTHON_EXECUTABLE);
}

static const char *initialise(void)
{
    char *executable = choose_executable();
    if (executable == NULL)
        return "out of memory";
    if (PyImport_AppendInittab("_interlace", PyInit__interlace) < 0)
        return "out of memory";
    PyImport_FrozenModules = lace_frozen_modules;

    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    config.install_signal_handlers = 0; /* the keeper's */
    config.tracemalloc = 0;             /* crashes with several interpreters */
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, executable);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesString(&config, &config.executable, executable);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    free(executable);
    if (PyStatus_Exception(status))
        return sentence("Python did not start: %s", status.err_msg ? status.err_msg : "it asked to exit");
    return NULL;
}

/* Modules whose first import races when several interpreters do it at once go first here. */
static const char *import_racy_modules(void)
{
    static const char *const names[] = {"math", "cmath", "_struct", "_datetime", "_decimal", "_pickle", "_io"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        PyObject *module = PyImport_ImportModule(names[i]);
        if (module == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError))
                return sentence("Python's module %s does not load", names[i]);
            PyErr_Clear(); /* a Python built without it */
        }
        Py_XDECREF(module);
    }
    return NULL;
}

const char *lace_host_open(const lace_host_options *options)
{
    lace_output_configure(options->tag);
    if (lace_region_create(NULL, &region) != LACE_OK)
        return "no shared memory for the channels";
    scope = lace_scope_create(NULL);
    if (scope == NULL)
        return "out of memory";
    const char *error = lace_keeper_start(options->grace);
    if (error == NULL)
        error = initialise();
    if (error == NULL)
        error = import_racy_modules();
    if (error == NULL)
        main_tstate = PyEval_SaveThread();
    return error;
}

bool lace_host_close(void)
{
    /* A kept interpreter that nobody names any more ends by itself; two that name each other do not. */
    lace_directory_end();
    lace_workers_join();
    lace_pool_close();
    if (!lace_workers_gone(lace_deadline_after(LACE_DEFAULT_GRACE))) {
        lace_complain("a spare worker does not end: going without it");
        return false;
    }
    PyEval_RestoreThread(main_tstate);
    Py_FinalizeEx();
    lace_directory_close();
    lace_keeper_stop();
    lace_scope_unref(scope);
    scope = NULL;
    if (lace_region_destroy(region) != LACE_OK)
        lace_complain("internal error: channel ends were left open at the end");
    region = NULL;
    return true;
}

char **lace_host_split(const char *line, char **ret_error)
{
    PyEval_RestoreThread(main_tstate);
    char **words = NULL;
    PyObject *shlex = PyImport_ImportModule("shlex");
    PyObject *list = shlex ? PyObject_CallMethod(shlex, "split", "N", PyUnicode_DecodeFSDefault(line)) : NULL;
    if (list != NULL) {
        Py_ssize_t count = PyList_GET_SIZE(list);
        words = calloc((size_t)count + 1, sizeof *words);
        for (Py_ssize_t i = 0; words != NULL && i < count; i++) {
            PyObject *bytes = PyUnicode_EncodeFSDefault(PyList_GET_ITEM(list, i));
            words[i] = bytes ? strdup(PyBytes_AS_STRING(bytes)) : NULL;
            Py_XDECREF(bytes);
            if (words[i] == NULL) {
                words = NULL; /* no memory: about to exit */
                break;
            }
        }
    }
    if (words == NULL) {
        PyObject *raised = PyErr_GetRaisedException();
        PyObject *text = raised ? PyObject_Str(raised) : NULL;
        const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
        *ret_error = strdup(utf8 ? utf8 : "out of memory");
        Py_XDECREF(text);
        Py_XDECREF(raised);
        PyErr_Clear();
    }
    Py_XDECREF(list);
    Py_XDECREF(shlex);
    main_tstate = PyEval_SaveThread();
    return words;
}
