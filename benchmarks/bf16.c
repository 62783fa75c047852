/* What bfloat16 would bring: the forward pass of a 5x5 convolution (32 -> 32 channels on 16x16, conv2 of cifar10_quick)
 * with AVX512-BF16 products summed in float32, against the same loop in float32; one core, whole pictures.
 *
 *     cc -O3 -march=native -o bf16 bf16.c -lm && ./bf16
 *
 * Prints microseconds a picture (with and without turning activations into bfloat16), GFLOP/s and the greatest error
 * against float64 relative to the greatest output. */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 6, SIZE = 16, C = 32, K = 32, TAPS = 5, PAD = 2, WIDE = SIZE + 2 * PAD, ROUNDS = 300 };

static float x[N][WIDE][WIDE][C], w[TAPS][TAPS][C][K], y[N][SIZE][SIZE][K];
static uint16_t xb[N][WIDE][WIDE][C], wb[TAPS][TAPS][C / 2][K][2];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint16_t rounded(float value) {
    union { float f; uint32_t i; } u = {value};
    return (uint16_t)((u.i + 0x7FFF + ((u.i >> 16) & 1)) >> 16);
}

static void pack_activations(void) {
    const float *from = &x[0][0][0][0];
    uint16_t *to = &xb[0][0][0][0];
    for (size_t i = 0; i < sizeof x / sizeof(float); i += 32)
        _mm512_storeu_si512(to + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i)));
}

#define BLOCK(ROWS, ...)                                                                        \
    for (int n = 0; n < N; n++)                                                                  \
        for (int r = 0; r < SIZE; r++)                                                           \
            for (int q = 0; q < SIZE; q += ROWS) {                                               \
                __m512 low[ROWS], high[ROWS];                                                    \
                _Pragma("GCC unroll 16") for (int m = 0; m < ROWS; m++) low[m] = high[m] = _mm512_setzero_ps(); \
                for (int u = 0; u < TAPS; u++) __VA_ARGS__                                           \
                _Pragma("GCC unroll 16") for (int m = 0; m < ROWS; m++) {                        \
                    _mm512_storeu_ps(&y[n][r][q + m][0], low[m]);                                \
                    _mm512_storeu_ps(&y[n][r][q + m][16], high[m]);                              \
                }                                                                                \
            }

static void forward_single(void) {
    BLOCK(8, {
        const float *a = &x[n][r + u][q][0], *b = &w[u][0][0][0];
        for (int k = 0; k < TAPS * C; k++, b += K) {
            const __m512 w0 = _mm512_loadu_ps(b), w1 = _mm512_loadu_ps(b + 16);
            _Pragma("GCC unroll 16") for (int m = 0; m < 8; m++) {
                const __m512 s = _mm512_set1_ps(a[m * C + k]);
                low[m] = _mm512_fmadd_ps(s, w0, low[m]);
                high[m] = _mm512_fmadd_ps(s, w1, high[m]);
            }
        }
    })
}

static void forward_bfloat(void) {
    BLOCK(8, {
        const uint16_t *a = &xb[n][r + u][q][0], *b = &wb[u][0][0][0][0];
        for (int k = 0; k < TAPS * C; k += 2, b += 2 * K) {
            const __m512bh w0 = (__m512bh)_mm512_loadu_si512(b), w1 = (__m512bh)_mm512_loadu_si512(b + 32);
            _Pragma("GCC unroll 16") for (int m = 0; m < 8; m++) {
                int pair;
                __builtin_memcpy(&pair, a + m * C + k, 4);
                const __m512bh s = (__m512bh)_mm512_set1_epi32(pair);
                low[m] = _mm512_dpbf16_ps(low[m], s, w0);
                high[m] = _mm512_dpbf16_ps(high[m], s, w1);
            }
        }
    })
}

static double error(void) {
    double worst = 0, top = 0;
    for (int r = 0; r < SIZE; r++)
        for (int q = 0; q < SIZE; q++)
            for (int o = 0; o < K; o++) {
                double sum = 0;
                for (int u = 0; u < TAPS; u++)
                    for (int v = 0; v < TAPS; v++)
                        for (int c = 0; c < C; c++) sum += (double)x[0][r + u][q + v][c] * w[u][v][c][o];
                worst = fmax(worst, fabs(sum - y[0][r][q][o]));
                top = fmax(top, fabs(sum));
            }
    return worst / top;
}

static double seconds(void (*first)(void), void (*then)(void)) {
    double best = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        const double start = now();
        if (first) first();
        then();
        best = fmin(best, now() - start);
    }
    return best / N;
}

static void tell(const char *what, double spent) {
    const double flop = 2.0 * SIZE * SIZE * K * TAPS * TAPS * C;
    printf("%-34s %6.1f us  %5.0f GFLOP/s  error %.1e\n", what, spent * 1e6, flop / spent * 1e-9, error());
}

int main(void) {
    srand(1);
    for (int n = 0; n < N; n++)
        for (int r = PAD; r < PAD + SIZE; r++)
            for (int q = PAD; q < PAD + SIZE; q++)
                for (int c = 0; c < C; c++) x[n][r][q][c] = (float)rand() / RAND_MAX - 0.5f;
    for (int i = 0; i < TAPS * TAPS * C * K; i++) (&w[0][0][0][0])[i] = (float)rand() / RAND_MAX - 0.5f;
    for (int u = 0; u < TAPS; u++)
        for (int v = 0; v < TAPS; v++)
            for (int c = 0; c < C; c++)
                for (int o = 0; o < K; o++) wb[u][v][c / 2][o][c % 2] = rounded(w[u][v][c][o]);
    double spent = seconds(0, forward_single);
    tell("float32", spent);
    spent = seconds(pack_activations, forward_bfloat);
    tell("bfloat16, activations turned", spent);
    spent = seconds(0, forward_bfloat);
    tell("bfloat16, activations there", spent);
    return 0;
}
