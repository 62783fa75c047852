/* Several blobs of one shape, element by element, two at a time; y may be x. */

/* y = c x. a: x, y; f: c. */
static void scaled(const brew_op *op) {
    const float factor = (float)op->f[0];
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = factor * p0[c]; });
}

/* y = a x + b z. a: x, z, y; f: a, b. */
static void eltwise_sum(const brew_op *op) {
    const float a = (float)op->f[0], b = (float)op->f[1];
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = a * p0[c] + b * p1[c]; });
}

/* y = x z. a: x, z, y. */
static void eltwise_product(const brew_op *op) {
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p0[c] * p1[c]; });
}

/* y = x / z. a: x, z, y. */
static void eltwise_quotient(const brew_op *op) {
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p0[c] / p1[c]; });
}

/* y = the larger of x and z, and whose it is. a: x, z, y, winner; i: number of z. Of equal ones the first two blobs
 * leave it to the second (1); later ones must be greater. */
static void eltwise_max(const brew_op *op) {
    const float number = (float)op->i[0];
    if (op->i[0] == 1) {
        FOR_ROWS(0, 1, 3, { for (int64_t c = 0; c < len; c++) p2[c] = p0[c] > p1[c] ? 0.0f : 1.0f; });
        FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p0[c] > p1[c] ? p0[c] : p1[c]; });
    } else {
        FOR_ROWS(0, 1, 3, { for (int64_t c = 0; c < len; c++) p2[c] = p1[c] > p0[c] ? number : p2[c]; });
        FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p1[c] > p0[c] ? p1[c] : p0[c]; });
    }
}

/* dx = dy where x won, else 0. a: winner, dy, dx; i: number of x. */
static void eltwise_max_backward(const brew_op *op) {
    const float number = (float)op->i[0];
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p0[c] == number ? p1[c] : 0.0f; });
}
