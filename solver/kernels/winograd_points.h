/* The transforms of Winograd's convolution in one dimension. F(m, r), m outputs of a filter of r taps, multiplies at the
 * size = m+r-1 points 0, pairs +-p, and infinity (as Toom and Cook multiply polynomials), in this order. With A[point] =
 * 1, point, point^2, ... (of infinity only the last is 1), N the derivative at a point of x times all (x^2 - p^2) (at
 * infinity 1) and B[point] the coefficients of that polynomial without the point:
 * y = A' [(A w / N) * (B d)]. */
enum { WINOGRAD_PAIRS = 3, WINOGRAD_SIZE = 2 * WINOGRAD_PAIRS + 2 };

/* For each number of pairs: p; the coefficients of x^0, x^2, ... of the product of all (x^2 - p^2), and of those without
 * pair i; 1/N of 0 and of +-p. All but the last are exact in float32; of points like these, the ones with the smallest
 * errors that were found. */
typedef struct {
    float p[WINOGRAD_PAIRS], all[WINOGRAD_PAIRS + 1], but[WINOGRAD_PAIRS][WINOGRAD_PAIRS];
    double per_n[WINOGRAD_PAIRS + 1];
} points;
static const points POINTS[WINOGRAD_PAIRS + 1] = {
    {{0}, {0}, {{0}}, {0}},
    {{1}, {-1, 1}, {{1}}, {-1, 0.5}},
    {{0.75, 1.5}, {1.265625, -2.8125, 1}, {{-2.25, 1}, {-0.5625, 1}}, {1 / 1.265625, -1 / 1.8984375, 1 / 7.59375}},
    {{0.5, 1, 2}, {-1, 5.25, -5.25, 1}, {{4, -5, 1}, {1, -4.25, 1}, {0.25, -1.25, 1}}, {-1, 32 / 45.0, -2 / 9.0, 1 / 90.0}},
};

/* 1/N of a point. */
AI double winograd_per_n(int pairs, int point) {
    return point == 2 * pairs + 1 ? 1 : POINTS[pairs].per_n[(point + 1) / 2];
}

/* v = B d. Row +-p is x (x +- p) times the other pairs' polynomial: an even and an odd sum. */
AI void winograd_in(const int pairs, const vf *d, vf *v) {
    const points *const at = &POINTS[pairs];
    v[0] = at->all[0] * d[0];
    v[2 * pairs + 1] = at->all[0] * d[1];
#pragma GCC unroll 4
    for (int k = 1; k <= pairs; k++) {
        v[0] += at->all[k] * d[2 * k];
        v[2 * pairs + 1] += at->all[k] * d[2 * k + 1];
    }
#pragma GCC unroll 4
    for (int i = 0; i < pairs; i++) {
        vf even = at->but[i][0] * d[2], odd = at->but[i][0] * d[1];
#pragma GCC unroll 4
        for (int k = 1; k < pairs; k++) {
            even += at->but[i][k] * d[2 * k + 2];
            odd += at->but[i][k] * d[2 * k + 1];
        }
        v[2 * i + 1] = even + at->p[i] * odd;
        v[2 * i + 2] = even - at->p[i] * odd;
    }
}

/* OUT: y[m] = A' v: powers of p, even ones times the sum of a pair and odd ones times its difference. For vectors V of
 * numbers T. */
#define WINOGRAD_OUT(T, V, OUT)                                                                  \
    AI void OUT(const int m, const int pairs, const V *v, V *y) {                                \
        _Pragma("GCC unroll 8") for (int j = 0; j < m; j++) y[j] = (V){0};                       \
        y[0] = v[0];                                                                             \
        y[m - 1] += v[2 * pairs + 1];                                                            \
        _Pragma("GCC unroll 4") for (int i = 0; i < pairs; i++) {                                \
            const V even = v[2 * i + 1] + v[2 * i + 2], odd = v[2 * i + 1] - v[2 * i + 2];       \
            T power = 1;                                                                         \
            _Pragma("GCC unroll 8") for (int j = 0; j < m; j++, power *= (T)POINTS[pairs].p[i])  \
                y[j] += power * (j % 2 ? odd : even);                                            \
        }                                                                                        \
    }
WINOGRAD_OUT(float, vf, winograd_out)
WINOGRAD_OUT(double, vd, winograd_out_exact)

/* v = A y, the transpose. */
AI void winograd_spread(const int m, const int pairs, const vf *y, vf *v) {
    v[0] = y[0];
    v[2 * pairs + 1] = y[m - 1];
#pragma GCC unroll 4
    for (int i = 0; i < pairs; i++) {
        vf even = y[0], odd = (vf){0};
        float power = POINTS[pairs].p[i];
#pragma GCC unroll 8
        for (int j = 1; j < m; j++, power *= POINTS[pairs].p[i])
            if (j % 2) odd += power * y[j];
            else even += power * y[j];
        v[2 * i + 1] = even + odd;
        v[2 * i + 2] = even - odd;
    }
}
