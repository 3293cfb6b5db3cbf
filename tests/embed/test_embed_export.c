/* test_embed_export.c - C functions that scripts call: what goes in, what comes out, what goes wrong. */
#include "embedding.h"

#include <ctype.h>
#include <locale.h>
#include <unistd.h>

/* ---- what goes in and comes out ------------------------------------------------------------------------- */

static lace_value *echo(lace_call *call, void *context)
{
    (void)context;
    CHECK(lace_value_type(lace_call_args(call)) == LACE_TYPE_TUPLE);
    return lace_value_share(lace_value_at(lace_call_args(call), 0));
}

/* The arguments as lace_value_format() has them: C has read what Python wrote. */
static lace_value *show(lace_call *call, void *context)
{
    char text[4096];
    (void)context;
    lace_value_format(lace_call_args(call), text, sizeof text);
    return lace_value_str(text);
}

START_TEST(test_export_passes_values_of_every_kind)
{
    open_host(NULL);
    CHECK_OK(lace_export(host, "echo", echo, NULL, 0));
    CHECK_OK(lace_export(host, "show", show, NULL, 0));
    run_code(
        "import interlace.host, math\n"
        "echo, show = interlace.host.echo, interlace.host.show\n"
        "values = [None, True, False, 0, -1, 2**31, 2**63 - 1, -2**63, 2**64, -10**400, 0.0, -0.5, 1e308,\n"
        "          math.inf, '', 'h\xc3\xa9', '\\0', '\\udc80', '\\U0001f600' * 1000, 'x' * 100000, b'', b'\\0\\xff',\n"
        "          b'x' * 300000, [], [[[]]], (), ((1,),), {}, {1: {2: [3]}}, {None: 1, (1, 'a'): 2, 1.5: 3, b'k': 4},\n"
        "          list(range(5000)), dict.fromkeys(range(3000))]\n"
        "for value in values:\n"
        "    back = echo(value)\n"
        "    assert back == value and type(back) is type(value), (value, back)\n"
        "assert math.isnan(echo(math.nan)) and math.copysign(1, echo(-0.0)) == -1\n"
        "for kind in bytearray, memoryview:\n"
        "    assert bytes(echo(kind(b'abc'))) == b'abc'\n"
        "assert show() == '()', show()\n"
        "assert show(1, 'a', [None]) == \"(1, 'a', [None])\", show(1, 'a', [None])\n"
        "big = list(range(100)); both = echo([big, big])\n"
        "assert both[0] is both[1]\n" /* one object stays one */
        "assert echo is not interlace.host.echo and echo.__name__ == 'echo' and 'echo' in echo.__doc__\n");
    close_host();
}
END_TEST

/* Gives a sender of the channel whose receiver it gets, having sent over it: ends travel in both directions. */
static lace_value *use_ends(lace_call *call, void *context)
{
    lace_receiver *numbers;
    lace_sender *back;
    (void)context;
    const lace_value *args = lace_call_args(call);
    if (lace_value_take_receiver(lace_value_at(args, 0), &numbers) != LACE_OK)
        return lace_call_fail(call, "TypeError", "no receiver");
    int64_t sum = 0, number;
    for (lace_value *value; lace_recv_value(numbers, lace_call_wait(call), &value) == LACE_OK;
         lace_value_destroy(value))
        if (lace_value_get_int(value, &number) == LACE_OK)
            sum += number;
    lace_receiver_destroy(numbers);
    if (lace_value_take_sender(lace_value_find(lace_value_at(args, 1), "to"), &back) != LACE_OK)
        return lace_call_fail(call, "TypeError", "no sender");
    CHECK_OK(lace_send_value(back, lace_value_int(sum), SOON));
    lace_value *result = lace_value_list();
    lace_value_append(result, lace_value_sender(back));
    return result;
}

START_TEST(test_export_passes_ends)
{
    open_host(NULL);
    CHECK_OK(lace_export(host, "use", use_ends, NULL, 0));
    CHECK_OK(lace_export(host, "echo", echo, NULL, 0));
    run_code("import interlace, interlace.host\n"
             "s, r = interlace.channel(10)\n"
             "t, u = interlace.channel(10)\n"
             "s.send_many([1, 2, 3]); s.close()\n"
             "[v] = interlace.host.use(r, {'to': t})\n"
             "t.close()\n"
             "v.send('and on'); v.close()\n"
             "assert list(u) == [6, 'and on']\n"
             "assert list(r) == []\n"
             "s, r = interlace.channel(1)\n"
             "[x] = interlace.host.echo([s]); s.close(); x.send(1); x.close()\n"
             "assert list(r) == [1]\n"
             /* what nobody takes is closed when the call is over */
             "s, r = interlace.channel(1)\n"
             "interlace.host.echo(1, s); s.close()\n"
             "assert list(r) == []\n");
    close_host();
}
END_TEST

static lace_value *make_block(lace_call *call, void *context)
{
    int64_t size;
    lace_block *block;
    (void)context;
    if (lace_value_unpack(lace_call_args(call), "(l)", &size) != LACE_OK ||
        lace_block_create(lace_host_region(host), (size_t)size, &block) != LACE_OK)
        return lace_call_fail(call, "ValueError", "%s", lace_problem());
    memset(lace_block_data(block), 'b', (size_t)size);
    return lace_value_build("[v]", lace_value_block(block));
}

static lace_value *fill_block(lace_call *call, void *context)
{
    lace_block *block;
    (void)context;
    lace_status status = lace_value_share_block(lace_value_at(lace_call_args(call), 0), &block);
    if (status != LACE_OK)
        return lace_call_fail(call, "TypeError", "%s", status_name(status));
    memset(lace_block_data(block), 'f', lace_block_size(block));
    return lace_value_block(block);
}

START_TEST(test_export_passes_blocks)
{
    open_host(NULL);
    CHECK_OK(lace_export(host, "make", make_block, NULL, 0));
    CHECK_OK(lace_export(host, "fill", fill_block, NULL, 0));
    run_code("import interlace, interlace.host\n"
             "[b] = interlace.host.make(1000000)\n"
             "assert type(b) is interlace.Buffer and bytes(b) == b'b' * 1000000\n"
             "c = interlace.host.fill(b)\n" /* it moves, as in a send */
             "assert bytes(c) == b'f' * 1000000\n"
             "try: memoryview(b)\n"
             "except (ValueError, BufferError): pass\n"
             "else: assert False, 'the Buffer is still there'\n"
             "v = memoryview(bytearray(b'x' * 1000))\n"
             "assert bytes(interlace.host.fill(v)) == b'f' * 1000 and bytes(v) == b'x' * 1000\n" /* a copy went */
             "try: interlace.host.fill(b'no block')\n"
             "except TypeError as e: assert 'MISMATCH' in str(e)\n"
             "else: assert False\n");
    close_host();
}
END_TEST

/* ---- what goes wrong ------------------------------------------------------------------------------------ */

typedef enum wrong {
    FAILS,       /* with the type and text of its arguments */
    FAILS_TWICE, /* the second counts */
    FAILS_AND_GIVES,
    GIVES_NULL,
    GIVES_FAILED,   /* a failed value */
    GIVES_CLOSED,   /* an end that has been closed */
    GIVES_FOREIGN,  /* a block of another region */
    FAILS_OF_NULLS, /* lace_call_fail with NULLs */
} wrong;

static lace_value *go_wrong(lace_call *call, void *context)
{
    const char *type = "RuntimeError", *text = "";
    size_t size;
    const lace_value *args = lace_call_args(call);
    lace_value_get_str(lace_value_at(args, 0), &type, NULL);
    lace_value_get_str(lace_value_at(args, 1), &text, &size);
    lace_sender *sender;
    lace_receiver *receiver;
    lace_region *region;
    lace_block *block;
    switch ((wrong)(intptr_t)context) {
    case FAILS:
        return lace_call_fail(call, type, "%s", text);
    case FAILS_TWICE:
        lace_call_fail(call, "KeyError", "first %d", 1);
        return lace_call_fail(call, "IndexError", "second %s %d", "of", 2);
    case FAILS_AND_GIVES:
        lace_call_fail(call, "KeyError", "all the same");
        return lace_value_build("[s]", "a result");
    case GIVES_FAILED:
        return lace_value_build("[s]", "\xff");
    case GIVES_CLOSED:
        make_channel(1, &sender, &receiver);
        lace_receiver_destroy(receiver);
        lace_sender_close(sender);
        return lace_value_build("(v)", lace_value_sender(sender));
    case GIVES_FOREIGN:
        CHECK_OK(lace_region_create(NULL, &region));
        CHECK_OK(lace_block_create(region, 1000, &block));
        CHECK_OK(lace_region_abandon(region));
        return lace_value_block(block);
    case FAILS_OF_NULLS:
        CHECK(lace_call_fail(NULL, "ValueError", "x") == NULL);
        return lace_call_fail(call, NULL, "nameless");
    case GIVES_NULL:
        break;
    }
    return NULL;
}

static void export_wrong(const char *name, wrong which)
{
    CHECK_OK(lace_export(host, name, go_wrong, (void *)(intptr_t)which, 0));
}

START_TEST(test_export_fails_with_any_exception)
{
    open_host(NULL);
    export_wrong("fails", FAILS);
    run_code(
        "import builtins, interlace.host, sys\n"
        "def raised(*args):\n"
        "    try: interlace.host.fails(*args)\n"
        "    except BaseException as error: return error\n"
        "    raise AssertionError(args)\n"
        "known = [v for v in vars(builtins).values() if isinstance(v, type) and issubclass(v, BaseException)]\n"
        "assert len(known) > 60\n"
        "odd = (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError, BaseExceptionGroup, ExceptionGroup)\n"
        "for kind in known:\n"
        "    error = raised(kind.__name__, 'so h\xc3\xa9')\n"
        /* what takes more than a text cannot be made of one */
        "    assert type(error) is (RuntimeError if kind in odd else kind), (kind, error)\n"
        "    assert 'so h\xc3\xa9' in str(error), (kind, error)\n"
        "for name in 'NoSuchError', 'print', 'int', 'None', 'os.error', 'x' * 1000, '', 'Value\xc3\xa9':\n"
        "    error = raised(name, 'text')\n"
        "    assert type(error) is RuntimeError and 'text' in str(error), (name, error)\n"
        "for text in '', 'x' * 100000, 'lone \\udc80', '%s%n':\n"
        "    error = raised('ValueError', text)\n"
        "    assert type(error) is ValueError and (text in str(error) or '\\udc80' in text), (text, error)\n"
        "def leave():\n"
        "    interlace.host.fails('SystemExit', 'x')\n"
        "try: leave()\n"
        "except SystemExit as error:\n"
        "    frames = []; t = error.__traceback__\n"
        "    while t: frames.append(t.tb_frame.f_code.co_name); t = t.tb_next\n"
        "    assert frames[:2] == ['<module>', 'leave'], frames\n");
    close_host();
}
END_TEST

START_TEST(test_export_goes_wrong)
{
    static const struct {
        wrong which;
        const char *want;
    } all[] = {{FAILS_TWICE, "IndexError('second of 2')"},
               {FAILS_AND_GIVES, "KeyError('all the same')"},
               {GIVES_NULL, "RuntimeError('interlace.host.wrong() failed without saying why')"},
               {GIVES_FAILED, "ValueError('interlace.host.wrong() returned what is no value:"},
               {GIVES_CLOSED, "ValueError('interlace.host.wrong() returned what is no value:"},
               {FAILS_OF_NULLS, "RuntimeError('nameless')"}};
    open_host(NULL);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char code[512];
        export_wrong("wrong", all[i].which);
        snprintf(code, sizeof code,
                 "import interlace.host\n"
                 "try: interlace.host.wrong()\n"
                 "except Exception as error: assert repr(error).startswith(%s%s%s), repr(error)\n"
                 "else: assert False\n",
                 "\"", all[i].want, "\"");
        run_code(code);
    }
    /* A block of another region: what it holds comes along all the same. */
    export_wrong("foreign", GIVES_FOREIGN);
    run_code("import interlace.host; assert len(memoryview(interlace.host.foreign())) == 1000");
    close_host();
}
END_TEST

START_TEST(test_export_refuses_arguments)
{
    open_host(NULL);
    CHECK_OK(lace_export(host, "echo", echo, NULL, 0));
    run_code("import interlace.host, datetime, fractions\n"
             "class Loop: pass\n"
             "loop = []; loop.append(loop)\n"
             "for wrong in datetime.date(2000, 1, 1), {1}, frozenset(), 1j, object, Ellipsis, range(3), "
             "fractions.Fraction(1, 3), loop:\n"
             "    try: interlace.host.echo(wrong)\n"
             "    except TypeError as error: assert 'interlace.host.echo() takes plain values' in str(error), error\n"
             "    else: assert False, wrong\n"
             "for wrong in lambda: 1, (x for x in 'x'), open('/dev/null'):\n"
             "    try: interlace.host.echo(wrong)\n"
             "    except Exception: pass\n" /* pickle's own */
             "    else: assert False, wrong\n"
             "for call in lambda: interlace.host.echo(x=1), lambda: interlace.host.echo(1, y=2), "
             "lambda: interlace.host.echo(**{'': 1}):\n"
             "    try: call()\n"
             "    except TypeError as error: assert 'keyword' in str(error), error\n"
             "    else: assert False\n");
    close_host();
}
END_TEST

/* ---- names ---------------------------------------------------------------------------------------------- */

START_TEST(test_export_names)
{
    static const char *const good[] = {"a", "A9_",
                                       "longer_name_of_a_function_that_does_a_lot_of_things_at_once_1234567890"};
    static const char *const bad[] = {"",    "_a", "__getattr__", "9a",         "a-b", "a b",   "import", "None",
                                      "a.b", "a(", "\xc3\xa9",    "e\xcc\x81", "a\n", "a\xff", "False",  "yield"};
    open_host(NULL);
    for (int locale = 0; locale < 2; locale++) {
        for (size_t i = 0; i < sizeof good / sizeof *good; i++)
            CHECK_OK(lace_export(host, good[i], echo, NULL, 0));
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            CHECK_REFUSED(LACE_INVALID, "name of a function", lace_export(host, bad[i], echo, NULL, 0));
        setlocale(LC_ALL, "C.UTF-8"); /* which letters there are is not the locale's to say */
    }
    CHECK_REFUSED(LACE_INVALID, "NULL", lace_export(host, NULL, echo, NULL, 0));
    CHECK_REFUSED(LACE_INVALID, "NULL", lace_export(host, "a", NULL, NULL, 0));
    CHECK_REFUSED(LACE_INVALID, "flags", lace_export(host, "a", echo, NULL, 2));
    CHECK_REFUSED(LACE_INVALID, "flags", lace_export(host, "a", echo, NULL, ~0u));
    run_code(
        "import interlace.host\n"
        "assert dir(interlace.host) == ['A9_', 'a', 'longer_name_of_a_function_that_does_a_lot_of_things_at_once_1234567890'], "
        "dir(interlace.host)\n"
        "assert interlace.host.a(5) == 5\n"
        "from interlace.host import A9_\n"
        "assert A9_('x') == 'x'\n"
        "for name in 'missing', '_a', '__wrapped__':\n"
        "    try: getattr(interlace.host, name)\n"
        "    except AttributeError as error: assert name.startswith('__') or 'A9_, a,' in str(error), error\n"
        "    else: assert False, name\n");
    close_host();
    open_host(NULL); /* they have gone with the host that they were offered to */
    run_code("import interlace.host\n"
             "assert dir(interlace.host) == []\n"
             "try: interlace.host.a(5)\n"
             "except AttributeError as error: assert 'none' in str(error), error\n"
             "else: assert False\n");
    close_host();
}
END_TEST

static lace_value *say(lace_call *call, void *context)
{
    (void)call;
    return lace_value_str(context);
}

START_TEST(test_export_replaced_while_workers_run)
{
    lace_sender *ask;
    lace_receiver *questions, *told;
    open_host(NULL);
    told = open_tell();
    make_channel(0, &ask, &questions);
    CHECK_OK(lace_export(host, "say", say, (void *)"first", 0));
    lace_worker *worker = start_code_with(
        "import interlace, interlace.host\n"
        "kept = interlace.host.say\n"
        "for name in interlace.input:\n"
        "    interlace.host.tell([kept(), interlace.host.say(), name in dir(interlace.host)])\n",
        questions, NULL);
    CHECK_OK(lace_send_value(ask, lace_value_str("later"), SOON));
    check_received(told, "['first', 'first', False]");
    CHECK_OK(lace_export(host, "say", say, (void *)"second", LACE_EXPORT_KEEP_LOCK));
    CHECK_OK(lace_export(host, "later", say, (void *)"later", 0)); /* for those that run, too */
    CHECK_OK(lace_send_value(ask, lace_value_str("later"), SOON));
    check_received(told, "['second', 'second', True]");
    lace_sender_destroy(ask);
    check_result(worker, "None");
    lace_receiver_destroy(told);
    close_host();
}
END_TEST

/* What it may not do, since it is borrowed: the first gives a handle back that it has not got, the others a part. */
static lace_value *give_back(lace_call *call, void *context)
{
    const lace_value *args = lace_call_args(call);
    (void)context;
    return (lace_value *)(lace_value_size(args) > 1 ? lace_value_at(args, 1) : args);
}

START_TEST(test_export_returns_its_arguments)
{
    open_host(NULL);
    CHECK_OK(lace_export(host, "back", give_back, NULL, 0));
    run_code("import interlace.host\n"
             "for i in range(50):\n"
             "    assert interlace.host.back(['x' * i]) == (['x' * i],)\n"
             "    try: interlace.host.back(1, ['x' * i])\n"
             "    except ValueError as error: assert 'belongs' in str(error), error\n"
             "    else: assert False\n");
    close_host();
}
END_TEST

TEST_MAIN("embed_export", EMBED(test_export_passes_values_of_every_kind), EMBED(test_export_passes_ends),
          EMBED(test_export_passes_blocks), EMBED(test_export_fails_with_any_exception),
          EMBED(test_export_goes_wrong), EMBED(test_export_refuses_arguments), EMBED(test_export_names),
          EMBED(test_export_replaced_while_workers_run), EMBED(test_export_returns_its_arguments))
