/* Shiftmax as `ivit-ref ops Shiftmax` defines it, for every attribute, behind the pipes of ivit_ref:
 *     cc -std=c99 -o shiftmax shiftmax.c
 *     ivit-ref golden feed CASES | ./shiftmax | ivit-ref golden check CASES
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char word[4096], name[4096], attributes[32][2][4096];
static long known, lengths[64], rank, size;
static int bits, is_signed;

static void stop(const char *why) { fprintf(stderr, "shiftmax: %s\n", why); exit(1); }

static const char *text(const char *attribute)
{
    for (long k = 0; k < known; k++)
        if (!strcmp(attributes[k][0], attribute)) return attributes[k][1];
    stop("an attribute is missing");
    return "";
}
static int is(const char *attribute, const char *value) { return !strcmp(text(attribute), value); }
static int64_t number(const char *attribute) { return strtoll(text(attribute), NULL, 10); }

/* C99 leaves shifts of negative numbers and casts to narrower signed types to the compiler; these it does not. */
static int64_t shift_right(int64_t v, int64_t k) { return v < 0 ? ~(~v >> k) : v >> k; }
static int64_t wrap(uint64_t v, int to)
{
    uint64_t sign = UINT64_C(1) << (to - 1), low = v & (2 * sign - 1);
    return low & sign ? -(int64_t)(sign - 1) - 1 + (int64_t)(low - sign) : (int64_t)low;
}

/* One row, in place. The constraints of Shiftmax and IntDiv keep everything within 64 bits. */
static void shiftmax(int64_t *v, long count)
{
    int64_t i0 = number("i0"), n = number("n"), max = v[0], s = 0;
    int64_t high = (INT64_C(1) << (bits - is_signed)) - 1, low = is_signed ? -high - 1 : 0;
    for (long i = 1; i < count; i++)
        if (v[i] > max) max = v[i];
    for (long i = 0; i < count; i++) {
        int64_t d = v[i] - max, p = d + shift_right(d, 1) - shift_right(d, 4);
        if (number("clamp") && p < -n * i0) p = -n * i0;
        int64_t q = -p / i0, r = p + q * i0; /* p <= 0: both values of the attribute quotient mean this */
        int64_t twice_i_b = is("half", "keep") ? r + 2 * i0 : 2 * (shift_right(r, 1) + i0), e = n - q - 1;
        v[i] = e >= 0 ? twice_i_b << e : e > -62 ? twice_i_b >> -e : 0;
        if (number("exp_bits") == 32) v[i] = wrap((uint64_t)v[i], 32);
        s += v[i];
    }
    if (is("sum", "clamped") && s > INT32_MAX) s = INT32_MAX;
    if (is("sum", "int32")) s = wrap((uint64_t)s, 32);
    if (s == 0) stop("a sum of exponentials is 0");
    for (long i = 0; i < count; i++) {
        int64_t y = number("numerator") / s * v[i];
        if (number("product_bits") == 32) y = wrap((uint64_t)y, 32);
        y = shift_right(y, 31 - (number("out_bits") - 1));
        v[i] = y < low ? low : y > high ? high : y;
    }
}

static void read_type(void) /* DTYPE RANK LENGTH... */
{
    if (scanf("%4095s %ld", word, &rank) != 2 || rank < 1 || rank > 64) stop("a type is wrong");
    is_signed = word[0] != 'u';
    bits = atoi(word + (is_signed ? 3 : 4));
    size = 1;
    for (long k = 0; k < rank; k++) {
        if (scanf("%ld", &lengths[k]) != 1) stop("a length is missing");
        size *= lengths[k];
    }
}

static void answer(int64_t *x) /* in rows of the last axis */
{
    long row = lengths[rank - 1];
    printf("tensor %s %s %ld", name, word, rank);
    for (long k = 0; k < rank; k++) printf(" %ld", lengths[k]);
    for (long i = 0; i < size; i++) {
        if (i % row == 0) shiftmax(x + i, row);
        printf("%c%0*" PRIx64, i % row ? ' ' : '\n', bits / 4, (uint64_t)x[i] & ((UINT64_C(1) << bits) - 1));
    }
    puts("");
}

int main(void)
{
    int64_t *x = NULL;
    while (scanf("%4095s", word) == 1) {
        if (!strcmp(word, "end")) { puts("end"); fflush(stdout); continue; }
        if (scanf("%4095s", name) != 1) stop("the case ends too early");
        if (!strcmp(word, "case")) {
            printf("case %s\n", name);
            known = 0;
        } else if (!strcmp(word, "op")) {
            if (strcmp(name, "Shiftmax")) stop("the operator is another");
        } else if (!strcmp(word, "int") || !strcmp(word, "text")) {
            if (known == 32 || scanf("%4095s", attributes[known][1]) != 1) stop("an attribute is wrong");
            strcpy(attributes[known++][0], name);
        } else if (!strcmp(word, "tensor")) {
            read_type();
            if (!(x = realloc(x, (size_t)size * sizeof *x))) stop("there is no memory");
            for (long i = 0; i < size; i++) {
                uint64_t element;
                if (scanf("%" SCNx64, &element) != 1) stop("an element is missing");
                x[i] = wrap(element, bits);
            }
        } else if (!strcmp(word, "want")) {
            read_type();
            answer(x);
        } else stop("a word of the protocol is unknown");
    }
    free(x);
    return 0;
}
