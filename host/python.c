/* python.c - the main interpreter: the host's own, or that of a process where Python runs already. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "module.h"
#include "process.h"
#include "tell.h"
#include "frozen.h"

/* Whose the main interpreter is. Written by lace_python_up and _down, which one thread at a time calls while no worker
 * is alive; read by workers. */
static enum { NOBODYS, OURS, THEIRS } main_is;
static PyThreadState *main_tstate; /* ours: detached, but while this file uses it */

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

/* Options of python's that go to the interpreters: borrowed, for good. Written before Python starts. */
static lace_python_options wanted;

void lace_python_set_options(const lace_python_options *options)
{
    wanted = *options;
}

/* What a child is told: the executable, then the options. Of this Python, where it is ours. */
static const char *told_settings[2 + 4 * LACE_MOST_OPTIONS];

const char *const *lace_python_settings(void)
{
    return main_is == OURS ? told_settings : NULL;
}

static void note_settings(const char *executable)
{
    size_t count = 0;
    free((void *)(uintptr_t)told_settings[0]);
    told_settings[count++] = strdup(executable);
    for (size_t i = 0; i < wanted.x_count; i++) {
        told_settings[count++] = "-X";
        told_settings[count++] = wanted.x[i];
    }
    for (size_t i = 0; i < wanted.w_count; i++) {
        told_settings[count++] = "-W";
        told_settings[count++] = wanted.w[i];
    }
    told_settings[count] = NULL;
}

static PyStatus append(PyWideStringList *list, const char *text)
{
    wchar_t *wide = Py_DecodeLocale(text, NULL);
    PyStatus status = wide ? PyWideStringList_Append(list, wide) : PyStatus_NoMemory();
    PyMem_RawFree(wide);
    return status;
}

static PyStatus apply_options(PyConfig *config)
{
    PyStatus status = PyStatus_Ok();
    for (size_t i = 0; i < wanted.x_count && !PyStatus_Exception(status); i++) {
        if (strcmp(wanted.x[i], "dev") == 0)
            config->dev_mode = 1; /* which is read from a command line only */
        status = append(&config->xoptions, wanted.x[i]);
    }
    for (size_t i = 0; i < wanted.w_count && !PyStatus_Exception(status); i++)
        status = append(&config->warnoptions, wanted.w[i]);
    return status;
}

/* Adds our frozen modules to those of the application; ours last, so that they hide none. */
static const char *add_frozen_modules(void)
{
    const struct _frozen *theirs = PyImport_FrozenModules;
    size_t count = 0, ours = 0;
    while (theirs != NULL && theirs[count].name != NULL)
        if (theirs[count++].code == lace_frozen_modules[0].code)
            return NULL; /* they are in it since last time */
    while (lace_frozen_modules[ours].name != NULL)
        ours++;
    struct _frozen *all = calloc(count + ours + 1, sizeof *all); /* stays: Python may look there at any time */
    if (all == NULL)
        return "out of memory";
    for (size_t i = 0; i < count; i++)
        all[i] = theirs[i];
    memcpy(all + count, lace_frozen_modules, ours * sizeof *all);
    PyImport_FrozenModules = all;
    return NULL;
}

static const char *initialise(bool sets_locale)
{
    static bool listed;

    const char *const *settings = wanted.settings != NULL && wanted.settings[0] != NULL ? wanted.settings : NULL;
    char *executable = settings != NULL && settings[0][0] != '\0' ? strdup(settings[0]) : choose_executable();
    Py_ssize_t words = 0;
    while (settings != NULL && settings[words] != NULL)
        words++;
    if (executable == NULL)
        return "out of memory";
    note_settings(executable);
    if (!listed && PyImport_AppendInittab("_interlace", PyInit__interlace) < 0) {
        free(executable);
        return "out of memory";
    }
    listed = true;
    const char *error = add_frozen_modules();
    if (error != NULL) {
        free(executable);
        return error;
    }

    /* Without the locale: the process's own stays as the application has set it, and so does its environment. */
    PyPreConfig before;
    PyPreConfig_InitPythonConfig(&before);
    before.parse_argv = settings != NULL;
    if (!sets_locale) {
        before.configure_locale = 0;
        before.coerce_c_locale = 0;
    }
    for (size_t i = 0; i < wanted.x_count; i++) { /* read before the rest is */
        if (strcmp(wanted.x[i], "utf8") == 0 || strcmp(wanted.x[i], "utf8=1") == 0)
            before.utf8_mode = 1;
        else if (strcmp(wanted.x[i], "utf8=0") == 0)
            before.utf8_mode = 0;
    }
    /* Only words of `settings` are parsed, which the other Python was started with. */
    PyStatus status = Py_PreInitializeFromBytesArgs(&before, words, (char **)(uintptr_t)settings);
    if (PyStatus_Exception(status)) {
        free(executable);
        return sentence("Python did not start: %s", status.err_msg ? status.err_msg : "it asked to exit");
    }
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = settings != NULL;
    config.install_signal_handlers = 0; /* the keeper's */
    config.tracemalloc = 0;             /* crashes with several interpreters */
    status = PyConfig_SetBytesString(&config, &config.program_name, executable);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesString(&config, &config.executable, executable);
    if (!PyStatus_Exception(status))
        status = apply_options(&config);
    if (!PyStatus_Exception(status) && settings != NULL)
        status = PyConfig_SetBytesArgv(&config, words, (char *const *)(uintptr_t)settings);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    free(executable);
    if (PyStatus_Exception(status))
        return sentence("Python did not start: %s", status.err_msg ? status.err_msg : "it asked to exit");
    return NULL;
}

/* The sentence for an import that has failed: its exception is set, and gone then. */
static const char *not_loaded(const char *name)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *why = PyUnicode_FromFormat("%s does not load: %S", name, raised);
    const char *text = why != NULL ? PyUnicode_AsUTF8(why) : NULL;
    const char *error = sentence("Python's module %s", text != NULL ? text : name);
    Py_XDECREF(why);
    Py_XDECREF(raised);
    PyErr_Clear();
    return error;
}

/* Modules whose first import races when several interpreters do it at once go first here. */
static const char *import_racy_modules(void)
{
    static const char *const names[] = {"math", "cmath", "_struct", "_datetime", "_decimal", "_pickle", "_io"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        PyObject *module = PyImport_ImportModule(names[i]);
        if (module == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError))
                return not_loaded(names[i]);
            PyErr_Clear(); /* a Python built without it */
        }
        Py_XDECREF(module);
    }
    return NULL;
}

/* ---- where Python runs already ------------------------------------------------------------------------- */

/* The thread state of the main interpreter that this thread has attached for a while. */
typedef struct lace_visit {
    PyThreadState *before; /* attached before and detached meanwhile; NULL: none */
    PyThreadState *made;   /* made for the visit; NULL: the one before does */
} lace_visit;

/* Attaches to the main interpreter; false: no memory. */
static bool enter_main(lace_visit *visit)
{
    PyThreadState *current = PyThreadState_GetUnchecked();
    *visit = (lace_visit){0};
    if (current != NULL && PyThreadState_GetInterpreter(current) == PyInterpreterState_Main())
        return true;
    visit->made = PyThreadState_New(PyInterpreterState_Main());
    if (visit->made == NULL)
        return false;
    visit->before = current != NULL ? PyEval_SaveThread() : NULL;
    PyEval_RestoreThread(visit->made);
    return true;
}

static void leave_main(lace_visit *visit)
{
    if (visit->made == NULL)
        return;
    PyThreadState_Clear(visit->made);
    PyThreadState_DeleteCurrent();
    if (visit->before != NULL)
        PyEval_RestoreThread(visit->before);
}

static const char *move_in(void)
{
    lace_visit visit;
    if (!enter_main(&visit))
        return "out of memory";
    const char *error = Py_Version < 0x030e01f0
                            ? "Interlace needs CPython 3.14.1 or newer, and this process runs an older one"
                            : add_frozen_modules();
    if (error == NULL)
        error = import_racy_modules();
    leave_main(&visit);
    return error;
}

void lace_show_exception(void)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyErr_DisplayException(raised);
    Py_DECREF(raised);
}

bool lace_python_give_module(void)
{
    if (main_is != THEIRS)
        return true; /* it is a built-in module */
    PyObject *machinery = PyImport_ImportModule("importlib.machinery");
    PyObject *spec = machinery ? PyObject_CallMethod(machinery, "ModuleSpec", "sO", "_interlace", Py_None) : NULL;
    PyModuleDef *definition = (PyModuleDef *)PyInit__interlace();
    PyObject *module = spec && definition ? PyModule_FromDefAndSpec(definition, spec) : NULL;
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    bool given = module != NULL && PyObject_SetAttrString(module, "__spec__", spec) == 0 &&
                 PyDict_SetItemString(modules, "_interlace", module) == 0 &&
                 PyModule_ExecDef(module, definition) == 0;
    Py_XDECREF(module);
    Py_XDECREF(spec);
    Py_XDECREF(machinery);
    return given;
}

const char *lace_python_greet(void)
{
    lace_visit visit;
    if (main_is != THEIRS)
        return NULL;
    if (!enter_main(&visit))
        return "out of memory";
    const char *error = NULL;
    if (PyDict_GetItemString(PyImport_GetModuleDict(), "_interlace") == NULL && !lace_python_give_module()) {
        lace_show_exception();
        error = "the module interlace could not be made (see above)";
    }
    leave_main(&visit);
    return error;
}

/* ---- where a worker is to run ---------------------------------------------------------------------------- */

/* The name of the module that refuses, or None; new, or NULL with an exception set. In the main interpreter, where the package
 * is not to be imported: its file is used alone. */
static PyObject *ask_for_refusing(const char *kind, const char *target)
{
    static const char module[] = "interlace._isolation";
    PyObject *found = PyImport_ImportFrozenModule(module) > 0 ? PyImport_AddModuleRef(module) : NULL;
    PyObject *path = PyList_New(0), *system = PySys_GetObject("path"); /* the latter borrowed */
    PyObject *answer = NULL;
    char *const *folders = lace_host_path();
    bool ok = found != NULL && path != NULL && system != NULL;
    for (; ok && folders != NULL && *folders != NULL; folders++) {
        PyObject *folder = PyUnicode_DecodeFSDefault(*folders);
        ok = folder != NULL && PyList_Append(path, folder) == 0;
        Py_XDECREF(folder);
    }
    if (ok && PyList_SetSlice(path, PyList_GET_SIZE(path), PyList_GET_SIZE(path), system) == 0)
        answer = PyObject_CallMethod(found, "refusing_import", "sNO", kind, PyUnicode_DecodeFSDefault(target), path);
    Py_XDECREF(path);
    Py_XDECREF(found);
    return answer;
}

void lace_python_settle(const char *kind, const char *target, lace_isolation *isolation)
{
    lace_visit visit;
    if (*isolation != LACE_ISOLATION_AUTO)
        return;
    *isolation = LACE_ISOLATION_INTERPRETER;
    if (lace_child_is() || !enter_main(&visit))
        return;
    PyObject *refusing = ask_for_refusing(kind, target);
    const char *name = refusing != NULL && refusing != Py_None ? PyUnicode_AsUTF8(refusing) : NULL;
    if (name != NULL) {
        lace_process_announce(name);
        *isolation = LACE_ISOLATION_PROCESS;
    }
    if (refusing == NULL)
        PyErr_Clear(); /* no memory, say: the worker will tell */
    Py_XDECREF(refusing);
    leave_main(&visit);
}

/* ---- waits of threads that hold a GIL -------------------------------------------------------------------- */

/* What this thread had attached when its wait began. */
static _Thread_local PyThreadState *parked;

static void park(void)
{
    parked = PyThreadState_GetUnchecked() != NULL ? PyEval_SaveThread() : NULL;
}

static void unpark(void)
{
    if (parked != NULL)
        PyEval_RestoreThread(parked);
    parked = NULL;
}

/* ---- up and down --------------------------------------------------------------------------------------- */

lace_status lace_python_claim(void)
{
    lace_visit visit;
    if (!enter_main(&visit))
        return lace_object(LACE_NOMEM, "out of memory");
    lace_status status = lace_claim();
    leave_main(&visit);
    return status;
}

/* Python's extension modules look for Python among what the whole program shows. Where this library has come with a plug-in
 * (dlopen without RTLD_GLOBAL), it is not there yet. */
static void show_python(void)
{
    Dl_info found;
    if (dladdr(&Py_Version, &found) != 0 && found.dli_fname != NULL)
        dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_GLOBAL); /* for good; no library: it is the program's own */
}

const char *lace_python_up(bool sets_locale)
{
    lace_usual_wait(park, unpark);
    show_python();
    if (!Py_IsInitialized()) { /* nobody has, or who did has finalised it */
        main_is = NOBODYS;
        const char *error = initialise(sets_locale);
        if (error == NULL)
            error = import_racy_modules();
        if (error != NULL)
            return error;
        main_tstate = PyEval_SaveThread();
        main_is = OURS;
    } else if (main_is != OURS) {
        main_is = THEIRS;
        return move_in();
    }
    return NULL;
}

PyThreadState *lace_python_main(void)
{
    return main_tstate;
}

bool lace_python_is_ours(void)
{
    return main_is != THEIRS;
}

void lace_python_down(void)
{
    PyEval_RestoreThread(main_tstate);
    Py_FinalizeEx();
    main_is = NOBODYS;
}

/* A file's name, which can be any bytes; None for NULL. */
static PyObject *path_or_none(const char *path)
{
    return path != NULL ? PyUnicode_DecodeFSDefault(path) : Py_NewRef(Py_None);
}

bool lace_python_tell(const lace_tell *tell, char *const *command)
{
    PyEval_RestoreThread(main_tstate);
    PyObject *words = PyList_New(0);
    for (size_t i = 0; words != NULL && command[i] != NULL; i++) {
        PyObject *word = PyUnicode_DecodeFSDefault(command[i]);
        if (word == NULL || PyList_Append(words, word) < 0)
            Py_CLEAR(words);
        Py_XDECREF(word);
    }
    PyObject *module = words ? PyImport_ImportModule("interlace._telling") : NULL;
    PyObject *done = module ? PyObject_CallMethod(module, "tell", "OONNzNi", words, tell->stats ? Py_True : Py_False,
                                                  path_or_none(tell->trace), path_or_none(tell->report), tell->graph,
                                                  path_or_none(tell->graph_path), tell->graph_fd)
                            : NULL;
    bool told = done == Py_True;
    if (done == NULL)
        PyErr_Print();
    Py_XDECREF(done);
    Py_XDECREF(module);
    Py_XDECREF(words);
    main_tstate = PyEval_SaveThread();
    return told;
}

bool lace_python_draw(const lace_tell *tell, const char *const *names, const unsigned *replicas, size_t count)
{
    PyEval_RestoreThread(main_tstate);
    PyObject *stages = PyList_New(0);
    for (size_t i = 0; stages != NULL && i < count; i++) {
        PyObject *stage = Py_BuildValue("NI", PyUnicode_DecodeFSDefault(names[i]), replicas[i]);
        if (stage == NULL || PyList_Append(stages, stage) < 0)
            Py_CLEAR(stages);
        Py_XDECREF(stage);
    }
    PyObject *module = stages ? PyImport_ImportModule("interlace._telling") : NULL;
    PyObject *done = module ? PyObject_CallMethod(module, "draw", "OzNi", stages, tell->graph,
                                                  path_or_none(tell->graph_path), tell->graph_fd)
                            : NULL;
    bool drawn = done == Py_True;
    if (done == NULL)
        PyErr_Print();
    Py_XDECREF(done);
    Py_XDECREF(module);
    Py_XDECREF(stages);
    main_tstate = PyEval_SaveThread();
    return drawn;
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
