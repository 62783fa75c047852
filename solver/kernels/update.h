/* Update rules over one parameter. a: values, gradient sums (doubles), history, numbers; f: lr_mult, decay_mult.
 * numbers (doubles): learning rate, factor of the gradient sums, momentum, weight decay, 1 for L1 decay. */

typedef struct { float rate, momentum, decay; double scale; int l1; } update_numbers;

AI update_numbers numbers_of(const brew_op *op) {
    const double *h = (const double *)op->a[3].data;
    return (update_numbers){(float)(h[0] * op->f[0]), (float)h[2], (float)(h[3] * op->f[1]), h[1], h[4] != 0};
}

AI float regularised(double g, float w, const update_numbers *u) {
    const float sign = (float)((w > 0) - (w < 0));
    return (float)(g * u->scale) + u->decay * (u->l1 ? sign : w);
}

/* h = momentum h + rate g; w -= h. */
static void sgd_update(const brew_op *op) {
    const update_numbers u = numbers_of(op);
    const double *g = F64(1);
    float *w = F(0), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        h[i] = u.momentum * h[i] + u.rate * regularised(g[i], w[i], &u);
        w[i] -= h[i];
    }
}

/* h' = momentum h + rate g; w -= (1 + momentum) h' - momentum h. */
static void nesterov_update(const brew_op *op) {
    const update_numbers u = numbers_of(op);
    const double *g = F64(1);
    float *w = F(0), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        const float old = h[i];
        h[i] = u.momentum * old + u.rate * regularised(g[i], w[i], &u);
        w[i] -= (1 + u.momentum) * h[i] - u.momentum * old;
    }
}

/* a: x, out (both doubles). */
static void sum_squares(const brew_op *op) {
    const double *x = F64(0);
    double sum = 0;
    for (int64_t i = 0; i < SIZE(0, 0); i++) sum += x[i] * x[i];
    *(double *)op->a[1].data = sum;
}
