/* Walking through arrays row by row, in the order in which they lie in memory. */

/* The axes of an array in the order in which it lies in memory, padded to four: 4-D pictures as n, h, w, c. */
typedef struct { int64_t size[4], at[4]; } axes4;

AI axes4 order4(const brew_array *a, int64_t nd) {
    static const int picture[4] = {0, 2, 3, 1};
    axes4 r = {{1, 1, 1, 1}, {0, 0, 0, 0}};
    for (int64_t d = 0; d < nd; d++) {
        const int64_t from = nd == 4 ? picture[d] : d, to = d + 4 - nd;
        r.size[to] = a->size[from];
        r.at[to] = a->stride[from];
    }
    return r;
}

/* Run BODY for every row of up to three arrays alike in shape; within it, p0, p1, p2 point to the row's first element,
 * s0, s1, s2 are the steps along it and `len` its length. A row is a line of the picture where all three arrays hold it
 * without gaps (FOR_ROWS), or else, and always in FOR_PIXELS, the channels of one pixel. */
AI int in_line(const axes4 *a, int64_t channels) { return a->at[2] == channels * a->at[3]; }

#define LOOP_ROWS(k0, k1, k2, JOIN, BODY)                                                                      \
    do {                                                                                                       \
        axes4 x0 = order4(&op->a[k0], op->a[k0].nd), x1 = order4(&op->a[k1], op->a[k0].nd),                    \
              x2 = order4(&op->a[k2], op->a[k0].nd);                                                           \
        if (JOIN && in_line(&x0, x0.size[3]) && in_line(&x1, x0.size[3]) && in_line(&x2, x0.size[3])) {        \
            x0.size[3] *= x0.size[2];                                                                          \
            x0.size[2] = 1;                                                                                    \
        }                                                                                                      \
        const int64_t s0 = x0.at[3], s1 = x1.at[3], s2 = x2.at[3], len = x0.size[3];                           \
        for (int64_t u0 = 0; u0 < x0.size[0]; u0++)                                                            \
            for (int64_t u1 = 0; u1 < x0.size[1]; u1++)                                                        \
                for (int64_t u2 = 0; u2 < x0.size[2]; u2++) {                                                  \
                    float *p0 = F(k0) + u0 * x0.at[0] + u1 * x0.at[1] + u2 * x0.at[2];                         \
                    float *p1 = F(k1) + u0 * x1.at[0] + u1 * x1.at[1] + u2 * x1.at[2];                         \
                    float *p2 = F(k2) + u0 * x2.at[0] + u1 * x2.at[1] + u2 * x2.at[2];                         \
                    (void)p0, (void)p1, (void)p2, (void)s0, (void)s1, (void)s2;                                \
                    BODY                                                                                       \
                }                                                                                              \
    } while (0)
#define FOR_ROWS(k0, k1, k2, BODY) LOOP_ROWS(k0, k1, k2, 1, BODY)
#define FOR_PIXELS(k0, k1, k2, BODY) LOOP_ROWS(k0, k1, k2, 0, BODY)
