/*
 * base64.c - see base64.h.
 *
 * Encoding takes 12 bits at a time: `pairs` holds the two characters of each of the 4096 values.
 * Decoding looks each character up in `values`; the entry is the character's 6 bits plus one, so
 * that 0 stands for "not in the alphabet". The two alphabets are two tables, tried in turn: a text
 * that mixes them fits neither. Where there is AVX2, base64_avx2.h does most of what is long.
 */
#include "common/base/base64.h"
#include "common/base/base64_avx2.h"

#define LONG_BYTES 64 /* from here on the processor's wide instructions pay */

/* clang-format off */
#define ROW(c) \
    c "A" c "B" c "C" c "D" c "E" c "F" c "G" c "H" c "I" c "J" c "K" c "L" c "M" c "N" c "O" c "P" \
    c "Q" c "R" c "S" c "T" c "U" c "V" c "W" c "X" c "Y" c "Z" c "a" c "b" c "c" c "d" c "e" c "f" \
    c "g" c "h" c "i" c "j" c "k" c "l" c "m" c "n" c "o" c "p" c "q" c "r" c "s" c "t" c "u" c "v" \
    c "w" c "x" c "y" c "z" c "0" c "1" c "2" c "3" c "4" c "5" c "6" c "7" c "8" c "9" c "+" c "/"
static const char pairs[] =
    ROW("A") ROW("B") ROW("C") ROW("D") ROW("E") ROW("F") ROW("G") ROW("H")
    ROW("I") ROW("J") ROW("K") ROW("L") ROW("M") ROW("N") ROW("O") ROW("P")
    ROW("Q") ROW("R") ROW("S") ROW("T") ROW("U") ROW("V") ROW("W") ROW("X")
    ROW("Y") ROW("Z") ROW("a") ROW("b") ROW("c") ROW("d") ROW("e") ROW("f")
    ROW("g") ROW("h") ROW("i") ROW("j") ROW("k") ROW("l") ROW("m") ROW("n")
    ROW("o") ROW("p") ROW("q") ROW("r") ROW("s") ROW("t") ROW("u") ROW("v")
    ROW("w") ROW("x") ROW("y") ROW("z") ROW("0") ROW("1") ROW("2") ROW("3")
    ROW("4") ROW("5") ROW("6") ROW("7") ROW("8") ROW("9") ROW("+") ROW("/");
#undef ROW

#define COMMON_VALUES                                                          \
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, \
    ['H'] = 8, ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, \
    ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, \
    ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, \
    ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, \
    ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, \
    ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, \
    ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, \
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62,
static const uint8_t standard_values[256] = {COMMON_VALUES ['+'] = 63, ['/'] = 64};
static const uint8_t url_values[256] = {COMMON_VALUES ['-'] = 63, ['_'] = 64};
#undef COMMON_VALUES
/* clang-format on */

bool base64_encode(struct slice bytes, struct buf *out)
{
    const uint8_t *in = bytes.data;
    size_t left = bytes.size;
    size_t text_bytes = left / 3 * 4 + (left % 3 != 0 ? 4 : 0);
    uint8_t *text;

    if (left > SIZE_MAX / 4 * 3 - 3) {
        out->overflow = true;
        return false;
    }
    text = buf_reserve(out, text_bytes);
    if (text == NULL)
        return text_bytes == 0 && !out->overflow;
    if (left >= LONG_BYTES && base64_avx2_there()) {
        size_t done = base64_avx2_encode(in, left, text);

        in += done;
        left -= done;
        text += done / 3 * 4;
    }
    for (; left >= 3; left -= 3, in += 3, text += 4) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

        memcpy(text, pairs + (size_t)(bits >> 12) * 2, 2);
        memcpy(text + 2, pairs + (size_t)(bits & 0xfff) * 2, 2);
    }
    if (left != 0) {
        uint32_t bits = (uint32_t)in[0] << 16 | (left == 2 ? (uint32_t)in[1] << 8 : 0);

        memcpy(text, pairs + (size_t)(bits >> 12) * 2, 2);
        memcpy(text + 2, pairs + (size_t)(bits & 0xfff) * 2, 2);
        text[3] = '=';
        if (left == 1)
            text[2] = '=';
    }
    buf_advance(out, text_bytes);
    return true;
}

/* `text` without its padding, of a length that is not 1 mod 4. */
static bool decode_with(const uint8_t values[256], struct slice text, uint8_t *out)
{
    const uint8_t *in = text.data;
    size_t left = text.size;
    uint32_t a, b, c, d, bits;

    if (left >= LONG_BYTES && values == standard_values && base64_avx2_there()) {
        size_t done = base64_avx2_decode(in, left, out);

        in += done;
        left -= done;
        out += done / 4 * 3;
    }
    for (; left >= 4; left -= 4, in += 4, out += 3) {
        a = values[in[0]];
        b = values[in[1]];
        c = values[in[2]];
        d = values[in[3]];
        if (a == 0 || b == 0 || c == 0 || d == 0)
            return false;
        bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        out[0] = (uint8_t)(bits >> 16);
        out[1] = (uint8_t)(bits >> 8);
        out[2] = (uint8_t)bits;
    }
    if (left == 0)
        return true;
    a = values[in[0]];
    b = values[in[1]];
    c = left == 3 ? values[in[2]] : 1;
    if (a == 0 || b == 0 || c == 0)
        return false;
    bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6;
    out[0] = (uint8_t)(bits >> 16);
    if (left == 3)
        out[1] = (uint8_t)(bits >> 8);
    return true;
}

bool base64_decode(struct slice text, uint8_t *out, size_t *bytes)
{
    if (text.size % 4 == 0 && text.size != 0 && text.data[text.size - 1] == '=')
        text.size -= text.data[text.size - 2] == '=' ? 2 : 1;
    if (text.size % 4 == 1)
        return false;
    if (!decode_with(standard_values, text, out) && !decode_with(url_values, text, out))
        return false;
    *bytes = text.size / 4 * 3 + (text.size % 4 != 0 ? text.size % 4 - 1 : 0);
    return true;
}
