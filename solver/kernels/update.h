/* Update rules over one parameter. a: values, gradient sums (doubles), histories, numbers (doubles); f: lr_mult,
 * decay_mult; i: 1 to leave the update where the gradient was.
 * numbers: learning rate, factor of the gradient sums, momentum, weight decay, 1 for L1 decay; rules that divide by a
 * root also read: second decay, delta. */

typedef struct { float rate, momentum, decay; double scale; int l1, leave; } update_numbers;

AI update_numbers numbers_of(const brew_op *op, const double *n) {
    return (update_numbers){
        .rate = (float)(n[0] * op->f[0]), .scale = n[1], .momentum = (float)n[2], .decay = (float)(n[3] * op->f[1]),
        .l1 = n[4] != 0, .leave = op->i[0] != 0,
    };
}

AI float regularised(double g, float w, const update_numbers *n) {
    const float sign = (float)((w > 0) - (w < 0));
    return (float)(g * n->scale) + n->decay * (n->l1 ? sign : w);
}

AI void take(float *w, double *g, float update, const update_numbers *n) {
    *w -= update;
    if (n->leave) *g = update;
}

/* h = momentum h + rate g; w -= h. */
static void sgd_update(const brew_op *op) {
    const update_numbers n = numbers_of(op, F64(3));
    double *g = F64(1);
    float *w = F(0), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        h[i] = n.momentum * h[i] + n.rate * regularised(g[i], w[i], &n);
        take(&w[i], &g[i], h[i], &n);
    }
}

/* h' = momentum h + rate g; w -= (1 + momentum) h' - momentum h. */
static void nesterov_update(const brew_op *op) {
    const update_numbers n = numbers_of(op, F64(3));
    double *g = F64(1);
    float *w = F(0), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        const float old = h[i];
        h[i] = n.momentum * old + n.rate * regularised(g[i], w[i], &n);
        take(&w[i], &g[i], (1 + n.momentum) * h[i] - n.momentum * old, &n);
    }
}

/* h = h + g^2; w -= rate g / (sqrt(h) + delta). */
static void adagrad_update(const brew_op *op) {
    const update_numbers n = numbers_of(op, F64(3));
    const float delta = (float)F64(3)[6];
    double *g = F64(1);
    float *w = F(0), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        const float d = regularised(g[i], w[i], &n);
        h[i] += d * d;
        take(&w[i], &g[i], n.rate * (d / (sqrtf(h[i]) + delta)), &n);
    }
}

/* h = second h + (1 - second) g^2; w -= rate g / (sqrt(h) + delta). */
static void rmsprop_update(const brew_op *op) {
    const update_numbers n = numbers_of(op, F64(3));
    const float second = (float)F64(3)[5], delta = (float)F64(3)[6];
    double *g = F64(1);
    float *w = F(0), *h = F(2);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        const float d = regularised(g[i], w[i], &n);
        h[i] = second * h[i] + (1 - second) * d * d;
        take(&w[i], &g[i], n.rate * (d / (sqrtf(h[i]) + delta)), &n);
    }
}

/* h = momentum h + (1 - momentum) g^2; d = g sqrt((delta + k) / (delta + h)); k = momentum k + (1 - momentum) d^2;
 * w -= rate d. */
static void adadelta_update(const brew_op *op) {
    const update_numbers n = numbers_of(op, F64(4));
    const float delta = (float)F64(4)[6];
    double *g = F64(1);
    float *w = F(0), *h = F(2), *k = F(3);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        float d = regularised(g[i], w[i], &n);
        h[i] = n.momentum * h[i] + (1 - n.momentum) * d * d;
        d *= sqrtf((delta + k[i]) / (delta + h[i]));
        k[i] = n.momentum * k[i] + (1 - n.momentum) * d * d;
        take(&w[i], &g[i], n.rate * d, &n);
    }
}

/* m = momentum m + (1 - momentum) g; v = second v + (1 - second) g^2; w -= rate m / (sqrt(v) + delta). */
static void adam_update(const brew_op *op) {
    const update_numbers n = numbers_of(op, F64(4));
    const float second = (float)F64(4)[5], delta = (float)F64(4)[6];
    double *g = F64(1);
    float *w = F(0), *m = F(2), *v = F(3);
    for (int64_t i = 0; i < SIZE(0, 0); i++) {
        const float d = regularised(g[i], w[i], &n);
        m[i] = n.momentum * m[i] + (1 - n.momentum) * d;
        v[i] = second * v[i] + (1 - second) * d * d;
        take(&w[i], &g[i], n.rate * (m[i] / (sqrtf(v[i]) + delta)), &n);
    }
}

/* a: x, out (both doubles). */
static void sum_squares(const brew_op *op) {
    enum { SUMS = 32 }; /* so many at a time, as none need wait for another */
    const double *x = F64(0);
    const int64_t size = SIZE(0, 0), whole = size / SUMS * SUMS;
    double part[SUMS] = {0}, sum = 0;
    for (int64_t i = 0; i < whole; i += SUMS)
        for (int64_t j = 0; j < SUMS; j++) part[j] += x[i + j] * x[i + j];
    for (int64_t j = 0; j < SUMS; j++) sum += part[j];
    for (int64_t i = whole; i < size; i++) sum += x[i] * x[i];
    *(double *)op->a[1].data = sum;
}
