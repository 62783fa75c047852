/* Update rules over one parameter. a: values, gradient sums, history, numbers; f: lr_mult, decay_mult.
 * numbers (doubles): learning rate, factor of the gradient sums, momentum, weight decay, 1 for L1 decay. */

typedef struct { float rate, scale, momentum, decay; int l1; } update_numbers;

AI update_numbers numbers_of(const brew_op *op) {
    const double *h = (const double *)op->a[3].data;
    return (update_numbers){(float)(h[0] * op->f[0]), (float)h[1], (float)h[2], (float)(h[3] * op->f[1]), h[4] != 0};
}

AI float regularised(float g, float w, const update_numbers *u) {
    const float sign = (float)((w > 0) - (w < 0));
    return g * u->scale + u->decay * (u->l1 ? sign : w);
}

/* h = momentum h + rate g; w -= h. */
static void sgd_update(const brew_op *op) {
    const update_numbers u = numbers_of(op);
    float *w = F(0), *g = F(1), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        h[i] = u.momentum * h[i] + u.rate * regularised(g[i], w[i], &u);
        w[i] -= h[i];
    }
}

/* h' = momentum h + rate g; w -= (1 + momentum) h' - momentum h. */
static void nesterov_update(const brew_op *op) {
    const update_numbers u = numbers_of(op);
    float *w = F(0), *g = F(1), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        const float old = h[i];
        h[i] = u.momentum * old + u.rate * regularised(g[i], w[i], &u);
        w[i] -= (1 + u.momentum) * h[i] - u.momentum * old;
    }
}

/* a: x, out (a double). */
static void sum_squares(const brew_op *op) {
    const float *x = F(0);
    double sum = 0;
    for (int64_t i = 0; i < SIZE(0, 0); i++) sum += (double)x[i] * x[i];
    *(double *)op->a[1].data = sum;
}
