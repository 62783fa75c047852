/* Softmax, losses and accuracy. The class axis may be any; all other axes are taken in logical (n, c, h, w) order, the
 * order of the labels. stat is a pair of doubles: the sum so far and what it is to be divided by. */

typedef struct { int64_t size[3], at[3], axis; } outer3; /* the three axes besides the class axis, and its own stride */

AI outer3 outer_of(const brew_array *a, int64_t axis) {
    outer3 r = {{1, 1, 1}, {0, 0, 0}, a->stride[axis]};
    int64_t to = 3;
    for (int64_t d = a->nd - 1; d >= 0; d--)
        if (d != axis) {
            to--;
            r.size[to] = a->size[d];
            r.at[to] = a->stride[d];
        }
    return r;
}

/* Run BODY for every position; p0, p1 point to its first class in arrays k0, k1 and s0, s1 step from class to class;
 * `position` counts. */
#define FOR_POSITIONS(k0, k1, BODY)                                                               \
    do {                                                                                          \
        const outer3 x0 = outer_of(&op->a[k0], op->i[0]), x1 = outer_of(&op->a[k1], op->i[0]);    \
        const int64_t s0 = x0.axis, s1 = x1.axis, classes = SIZE(k0, op->i[0]);                   \
        int64_t position = 0;                                                                     \
        for (int64_t u0 = 0; u0 < x0.size[0]; u0++)                                               \
            for (int64_t u1 = 0; u1 < x0.size[1]; u1++)                                           \
                for (int64_t u2 = 0; u2 < x0.size[2]; u2++, position++) {                         \
                    float *p0 = F(k0) + u0 * x0.at[0] + u1 * x0.at[1] + u2 * x0.at[2];            \
                    float *p1 = F(k1) + u0 * x1.at[0] + u1 * x1.at[1] + u2 * x1.at[2];            \
                    (void)p1, (void)s1;                                                           \
                    BODY                                                                          \
                }                                                                                 \
    } while (0)

AI void softmax_at(const float *x, int64_t sx, float *y, int64_t sy, int64_t classes) {
    float top = x[0], sum = 0;
    for (int64_t c = 1; c < classes; c++) top = BREW_MAX(top, x[c * sx]);
    for (int64_t c = 0; c < classes; c++) sum += y[c * sy] = expf(x[c * sx] - top);
    for (int64_t c = 0; c < classes; c++) y[c * sy] /= sum;
}

/* a: x, y; i: axis. */
static void softmax_forward(const brew_op *op) {
    FOR_POSITIONS(0, 1, { softmax_at(p0, s0, p1, s1, classes); });
}

/* a: y, dx, dy; i: axis. */
static void softmax_backward(const brew_op *op) {
    const outer3 g = outer_of(&op->a[2], op->i[0]);
    FOR_POSITIONS(0, 1, {
        const float *dy = F(2) + u0 * g.at[0] + u1 * g.at[1] + u2 * g.at[2];
        float dot = 0;
        for (int64_t c = 0; c < classes; c++) dot += p0[c * s0] * dy[c * g.axis];
        for (int64_t c = 0; c < classes; c++) p1[c * s1] = p0[c * s0] * (dy[c * g.axis] - dot);
    });
}

enum { NORM_FULL, NORM_VALID, NORM_BATCH_SIZE, NORM_NONE };

/* a: x, prob, label, top, norm, stat; i: axis, positions of what BATCH_SIZE counts, normalization, has ignore_label,
 * ignore_label, sums.
 * norm receives the divisor; with sums, top is the plain sum and stat grows by (sum, divisor). */
static void softmax_loss_forward(const brew_op *op) {
    const float *label = F(2);
    double sum = 0, valid = 0, total = 0;
    FOR_POSITIONS(0, 1, {
        softmax_at(p0, s0, p1, s1, classes);
        const int64_t at = (int64_t)label[position];
        total++;
        if (op->i[3] && at == op->i[4]) continue;
        valid++;
        if (at < 0 || at >= classes) sum += NAN;
        else sum -= logf(p1[at * s1] < 1.17549435e-38f ? 1.17549435e-38f : p1[at * s1]); /* NaN goes on */
    });
    const double norms[] = {total, valid, total / (double)op->i[1], 1.0};
    const double norm = norms[op->i[2]];
    F(4)[0] = (float)BREW_MAX(norm, 1.0);
    F(3)[0] = (float)(op->i[5] ? sum : sum / BREW_MAX(norm, 1.0));
    if (op->i[5]) {
        double *stat = (double *)op->a[5].data;
        stat[0] += sum;
        stat[1] += op->i[2] == NORM_NONE ? 0 : norm;
    }
}

/* a: prob, dx, label, dtop, norm; i: axis, has ignore_label, ignore_label, sums; f: factor of sums. */
static void softmax_loss_backward(const brew_op *op) {
    const float *label = F(2);
    const float scale = F(3)[0] * (op->i[3] ? (float)op->f[0] : 1.0f / F(4)[0]);
    FOR_POSITIONS(0, 1, {
        const int64_t at = (int64_t)label[position];
        const float here = op->i[1] && at == op->i[2] ? 0.0f : scale;
        for (int64_t c = 0; c < classes; c++) p1[c * s1] = (p0[c * s0] - (c == at ? 1.0f : 0.0f)) * here;
    });
}

/* a: x, z, top, stat; i: sums. Half the summed squares of x - z, over the number of samples. */
static void euclidean_forward(const brew_op *op) {
    double sum = 0;
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c++) {
            const double d = (double)p0[c * s0] - p1[c * s1];
            sum += d * d;
        }
    });
    const double n = (double)SIZE(0, 0);
    F(2)[0] = (float)(op->i[0] ? sum / 2 : sum / 2 / BREW_MAX(n, 1.0));
    if (op->i[0]) {
        double *stat = (double *)op->a[3].data;
        stat[0] += sum / 2;
        stat[1] += n;
    }
}

/* a: x, z, dx, dtop; f: sign (+1 for x, -1 for z), factor. */
static void euclidean_backward(const brew_op *op) {
    const float scale = (float)(F(3)[0] * op->f[0] * op->f[1]);
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c * s2] = (p0[c * s0] - p1[c * s1]) * scale; });
}

/* a: x, label, top, per-class top or none, stat, scratch (2 x classes doubles); i: axis, top_k, has ignore_label,
 * ignore_label, sums. A position is correct when fewer than top_k other classes score at least as high. */
static void accuracy_forward(const brew_op *op) {
    const float *label = F(1);
    double right = 0, valid = 0;
    double *hits = (double *)op->a[5].data, *seen = hits + SIZE(0, op->i[0]);
    memset(hits, 0, (size_t)(2 * SIZE(0, op->i[0])) * sizeof(double));
    FOR_POSITIONS(0, 0, {
        const int64_t at = (int64_t)label[position];
        if ((op->i[2] && at == op->i[3]) || at < 0 || at >= classes) continue;
        int64_t above = 0;
        for (int64_t c = 0; c < classes; c++) above += c != at && p0[c * s0] >= p0[at * s0];
        const int ok = above < op->i[1] && p0[at * s0] == p0[at * s0];
        valid++;
        seen[at]++;
        right += ok;
        hits[at] += ok;
    });
    F(2)[0] = (float)(valid > 0 ? right / valid : 0);
    if (F(3))
        for (int64_t c = 0; c < SIZE(0, op->i[0]); c++) F(3)[c] = (float)(seen[c] > 0 ? hits[c] / seen[c] : 0);
    if (op->i[4]) {
        double *stat = (double *)op->a[4].data;
        stat[0] += right;
        stat[1] += valid;
    }
}
