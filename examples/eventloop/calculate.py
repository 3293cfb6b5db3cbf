"""A worker of the server. It calculates, exactly: 1/3 + 1/6 is 1/2. A request is a line with an expression."""

import ast
import operator
from collections.abc import Callable
from fractions import Fraction

import interlace

MOST_BITS = 10_000  # of a power: nobody shall keep a worker busy with 9**9**9


def power(base, exponent):
    if exponent.denominator != 1:
        raise ValueError("an exponent has to be a whole number")
    if abs(exponent) * (max(abs(base.numerator), base.denominator).bit_length()) > MOST_BITS:
        raise ValueError("that number has too many digits")
    return base**exponent


OPERATORS: dict[type[ast.AST], Callable[..., Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def value(node):
    """The Fraction that a part of an expression stands for."""
    match node:
        case ast.Constant(value=int(number) | float(number)):
            return Fraction(str(number))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value(left), value(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value(operand))
    raise ValueError("numbers, + - * / % ** and parentheses are what there is")


def answer(line):
    """What the client is to read: one line of text, whatever it has sent."""
    try:
        return str(value(ast.parse(line.decode().strip(), mode="eval").body))
    except ZeroDivisionError:
        return "error: division by zero"
    except SyntaxError as error:
        return f"error: {error.msg}"
    except Exception as error:
        return f"error: {error or type(error).__name__}".replace("\n", " ")


for ticket, line in interlace.input:
    interlace.output.send((ticket, answer(line)))
