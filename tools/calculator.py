"""Calculates without rounding. Expressions are never run as code: they are parsed here, within limits."""

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
MAX_DIGITS = 1000  # of a number, also of one in between
MAX_BITS = math.ceil(MAX_DIGITS * math.log2(10))
MAX_PLACES = 50  # after the decimal point, before a result is shown as a fraction
APPROXIMATE = Context(prec=30)

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<sign>\*\*|//|[-+*/%()])|(?P<end>$))", re.ASCII
)
SIGN_STRENGTH = 3  # of a sign before a number, weaker than a power: -2**2 is -4


@tool(idempotent=True)
def calculate(expression: str) -> str:
    """Calculate exactly: 0.1 + 0.2 is 0.3, and 1/3 stays a fraction. Use it for every calculation that has to be right.

    Args:
        expression: Numbers with + - * / // (rounded down) % (remainder) ** (power) and parentheses, such as
            (1 + 0.19) * 3 ** 2. No functions and no variables.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"The expression is longer than {MAX_LENGTH} characters: calculate it in parts.")
    return _formatted(_Parser(expression).result())


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ToolError("Only a power with a whole exponent has an exact result.")
    if abs(exponent) * (_bits(base) - 1) > MAX_BITS:
        raise _too_large()
    return Fraction(base**exponent.numerator)


class Binary(NamedTuple):
    """An operator: how strongly it binds, and its function."""

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
    """Parses an expression by precedence climbing, and calculates each operation as soon as it is parsed."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._position = 0
        self._depth = 0
        self._next()

    def result(self) -> Fraction:
        value = self._expression(0)
        if not self._ended:
            raise self._unexpected()
        return value

    def _next(self) -> None:
        """Read the next token: a number, a sign or the end."""
        found = TOKEN.match(self._text, self._position)
        if found is None:
            rest = self._text[self._position :]
            sign = rest.lstrip()[:1]
            hint = ": write a power as **" if sign == "^" else ""
            raise ToolError(f"{sign!r} is not allowed, at {rest[:20]!r}{hint}.")
        self._number, self._sign = found["number"], found["sign"]
        self._ended = found["end"] is not None
        self._token_start, self._position = self._position, found.end()

    def _expression(self, least: int) -> Fraction:
        """Parse and calculate as far as operators bind at least this strongly."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(f"The expression is nested deeper than {MAX_DEPTH}: calculate it in parts.")
        value = self._operand()
        while (binary := BINARY.get(self._sign or "")) and binary.strength >= least:
            is_power = self._sign == "**"
            self._next()
            # Powers are grouped from the right: 2**3**2 is 2**(3**2).
            other = self._expression(binary.strength if is_power else binary.strength + 1)
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
            value = self._expression(SIGN_STRENGTH)
            return -value if sign == "-" else value
        value = self._expression(0)
        if self._sign != ")":
            raise self._unexpected()
        self._next()
        return value

    def _unexpected(self) -> ToolError:
        if self._ended:
            return ToolError("The expression is incomplete.")
        return ToolError(f"The expression is invalid at {self._text[self._token_start :].strip()[:20]!r}.")


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
    return ToolError(f"A number in the calculation has more than {MAX_DIGITS} digits.")


def _formatted(value: Fraction) -> str:
    """Format a whole number, an exact decimal, or else a fraction and its approximate value."""
    if value.denominator == 1:
        return str(value.numerator)
    places = _places(value.denominator)
    if places is not None:
        digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    about = APPROXIMATE.divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{value}, about {about}"


def _places(denominator: int) -> int | None:
    """Return how many places the exact decimal has, or None if it has more than `MAX_PLACES` or no end."""
    return next((places for places in range(1, MAX_PLACES + 1) if 10**places % denominator == 0), None)
