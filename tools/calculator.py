"""Arithmetic without rounding. Nothing of an expression is ever run as code: it is parsed here, within bounds."""

import math
import operator
import re
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import NamedTuple

from tools import ToolError, tool

MAX_LENGTH = 500  # characters of an expression
MAX_DEPTH = 50  # of parentheses, signs and powers within each other
MAX_DIGITS = 1000  # of a number, on the way or in the end
MAX_BITS = math.ceil(MAX_DIGITS * math.log2(10))
MAX_PLACES = 50  # behind the point of what is shown as an exact decimal
ABOUT = Context(prec=30)

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<sign>\*\*|//|[-+*/%()])|(?P<end>$))", re.ASCII
)
SIGNS = 3  # how strongly a sign binds: -2**2 is -4


@tool(idempotent=True)
def calculate(expression: str) -> str:
    """Calculate exactly: 0.1 + 0.2 is 0.3, and 1/3 stays a fraction. Use it for every calculation that has to be right.

    Args:
        expression: Numbers with + - * / // (rounded down) % (remainder) ** (power) and parentheses, such as
            (1 + 0.19) * 3 ** 2. No functions and no variables.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"The expression is longer than {MAX_LENGTH} characters: calculate it in parts.")
    return _written(_Parser(expression).result())


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ToolError("Only a power with a whole exponent has an exact result.")
    if abs(exponent) * (_bits(base) - 1) > MAX_BITS:
        raise _too_large()
    return Fraction(base**exponent.numerator)


class Binary(NamedTuple):
    """How strongly an operator binds, and what it does."""

    strength: int
    apply: Callable[[Fraction, Fraction], Fraction | int]


BINARY = {
    "+": Binary(1, operator.add),
    "-": Binary(1, operator.sub),
    "*": Binary(2, operator.mul),
    "/": Binary(2, operator.truediv),
    "//": Binary(2, operator.floordiv),
    "%": Binary(2, operator.mod),
    "**": Binary(4, _power),
}


class _Parser:
    """Reads an expression from left to right, and calculates on the way. An operator that binds stronger goes first."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0
        self._depth = 0
        self._next()

    def result(self) -> Fraction:
        value = self._expression(0)
        if not self._ended:
            raise self._unexpected()
        return value

    def _next(self) -> None:
        """Go to the next token, which is a number, or a sign, or the end."""
        found = TOKEN.match(self._text, self._at)
        if found is None:
            rest = self._text[self._at :].lstrip()
            hint = ": write a power as **" if rest.startswith("^") else ""
            raise ToolError(f"{rest[:1]!r} can't be calculated with, at {self._text[self._at :][:20]!r}{hint}.")
        self._number, self._sign = found["number"], found["sign"]
        self._ended = found["end"] is not None
        self._from, self._at = self._at, found.end()

    def _expression(self, least: int) -> Fraction:
        """What follows, as far as operators bind so strongly."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(f"The expression is nested deeper than {MAX_DEPTH}: calculate it in parts.")
        value = self._operand()
        while (binary := BINARY.get(self._sign or "")) and binary.strength >= least:
            power = self._sign == "**"  # 2**3**2 is 2**(3**2)
            self._next()
            other = self._expression(binary.strength if power else binary.strength + 1)
            value = _bounded(binary.apply, value, other)
        self._depth -= 1
        return value

    def _operand(self) -> Fraction:
        number, sign = self._number, self._sign
        if number is None and sign not in ("+", "-", "("):
            raise self._unexpected()
        self._next()
        if number is not None:
            return _number(number)
        if sign != "(":
            value = self._expression(SIGNS)
            return -value if sign == "-" else value
        value = self._expression(0)
        if self._sign != ")":
            raise self._unexpected()
        self._next()
        return value

    def _unexpected(self) -> ToolError:
        if self._ended:
            return ToolError("The expression ends too early.")
        return ToolError(f"The expression goes wrong at {self._text[self._from :].strip()[:20]!r}.")


def _number(text: str) -> Fraction:
    exponent = re.split("[eE]", text)[1:]
    if exponent and abs(int(exponent[0])) > MAX_DIGITS:
        raise _too_large()
    return Fraction(text)


def _bounded(apply: Callable[[Fraction, Fraction], Fraction | int], one: Fraction, other: Fraction) -> Fraction:
    try:
        value = Fraction(apply(one, other))
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    if _bits(value) > MAX_BITS:
        raise _too_large()
    return value


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _too_large() -> ToolError:
    return ToolError(f"A number on the way has more than {MAX_DIGITS} digits.")


def _written(value: Fraction) -> str:
    """A whole number, or a decimal where that is exact, or a fraction and about what it is."""
    if value.denominator == 1:
        return str(value.numerator)
    places = _places(value.denominator)
    if places is not None:
        digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    about = ABOUT.divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{value}, about {about}"


def _places(denominator: int) -> int | None:
    """How many places an exact decimal has; None if it has too many, or no end."""
    return next((places for places in range(1, MAX_PLACES + 1) if 10**places % denominator == 0), None)
