/* SigmoidCrossEntropyLoss. Scores x and targets t are alike in shape; every element counts for itself. */

/* a: x, t, top, norm, stat; i: elements of what BATCH_SIZE counts, normalization, has ignore_label, ignore_label, sums.
 * norm receives the divisor; with sums, top is the plain sum and stat grows by (sum, divisor). */
static void sigmoid_loss_forward(const brew_op *op) {
    double sum = 0, valid = 0;
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c++) {
            const float x = p0[c * s0];
            const float t = p1[c * s1];
            if (op->i[2] && (int64_t)t == op->i[3]) continue;
            valid++;
            sum += log1pf(expf(-fabsf(x))) - x * (t - (x >= 0 ? 1.0f : 0.0f));
        }
    });
    const double total = (double)brew_count(&op->a[0]), norms[] = {total, valid, total / (double)op->i[0], 1.0};
    const double norm = norms[op->i[1]];
    F(3)[0] = (float)BREW_MAX(norm, 1.0);
    F(2)[0] = (float)(op->i[4] ? sum : sum / BREW_MAX(norm, 1.0));
    if (op->i[4]) {
        double *stat = (double *)op->a[4].data;
        stat[0] += sum;
        stat[1] += op->i[1] == NORM_NONE ? 0 : norm;
    }
}

/* a: x, t, dx, dtop, norm; i: has ignore_label, ignore_label, sums; f: factor of sums. */
static void sigmoid_loss_backward(const brew_op *op) {
    const float scale = F(3)[0] * (op->i[2] ? (float)op->f[0] : 1.0f / F(4)[0]);
    FOR_ROWS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) {
            const float t = p1[c * s1];
            const int out = op->i[0] && (int64_t)t == op->i[1];
            p2[c * s2] = out ? 0.0f : (sigmoid_of(p0[c * s0]) - t) * scale;
        }
    });
}
