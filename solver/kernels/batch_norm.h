/* Batch normalisation over arrays with the channels last. What needs all samples is computed from sums of each sample,
 * so that its bits do not depend on who computed which. */

enum { STATISTICS = 64 }; /* channels at a time */

/* The mean of each channel of each sample, and the sum of the squared distances from it. a: x, statistics (samples, 2,
 * channels; doubles). One pass serves, for distances from the mean of the sample's first row, unless that lies so far
 * from the sample's (3 deviations) that what is left of their squares would lose a digit: then a second is made. */
static void batch_norm_statistics(const brew_op *op) {
    const pictures x = pictures_of(&op->a[0]);
    pictures first = x;
    first.rows = 1;
    const double pixels = (double)(x.rows * x.cols);
    for (int64_t n = 0; n < x.count; n++)
        for (int64_t c = 0; c < x.channels; c += STATISTICS) {
            const int64_t channels = BREW_MIN(STATISTICS, x.channels - c);
            double *mean = F64(1) + n * STRIDE(1, 0) + c, *squares = mean + STRIDE(1, 1);
            double start[STATISTICS] = {0};
            float shift[STATISTICS + VL] = {0};
            picture_sums(SUM, &first, 0, n, 0, c, channels, start, 0);
            for (int64_t k = 0; k < channels; k++) shift[k] = (float)(start[k] / (double)x.cols);
            for (int pass = 0, far = 1; far && pass < 2; pass++) {
                double sum[STATISTICS] = {0}, square[STATISTICS] = {0};
                picture_sums(SPREAD, &x, 0, n, shift, c, channels, sum, square);
                far = 0;
                for (int64_t k = 0; k < channels; k++) {
                    const double lost = sum[k] * sum[k] / pixels, kept = square[k] - lost;
                    far |= lost > 0.9 * square[k];
                    mean[k] = shift[k] + sum[k] / pixels;
                    squares[k] = kept < 0 ? 0 : kept;
                    shift[k] = (float)mean[k];
                }
            }
        }
}

/* Mean and 1 / deviation of all samples. a: statistics, mean, inv, blobs 0, 1, 2 (sums of mean and variance, and their
 * weight); i: pixels of a sample; f: eps, moving average fraction. With m_n the mean and s_n the squares of one of N
 * samples of p pixels, the variance is (sum s_n / p + sum (m_n - mean)^2) / N (Chan, Golub and LeVeque 1983); biased it
 * normalises, unbiased it is summed up. */
static void batch_norm_moments(const brew_op *op) {
    const int64_t samples = SIZE(0, 0), channels = SIZE(0, 2);
    const double pixels = (double)op->i[0], count = pixels * (double)samples;
    const double unbias = count > 1 ? count / (count - 1) : 1.0;
    if (count == 0) return; /* the mean of nothing would spoil the running sums */
    F(5)[0] = (float)(F(5)[0] * op->f[1] + 1.0);
    for (int64_t first = 0; first < channels; first += STATISTICS) {
        const int64_t block = BREW_MIN(STATISTICS, channels - first);
        double mean[STATISTICS] = {0}, var[STATISTICS] = {0};
        for (int64_t n = 0; n < samples; n++) {
            const double *means = F64(0) + n * STRIDE(0, 0) + first;
            for (int64_t c = 0; c < block; c++) mean[c] += means[c];
        }
        for (int64_t c = 0; c < block; c++) mean[c] /= (double)samples;
        for (int64_t n = 0; n < samples; n++) {
            const double *means = F64(0) + n * STRIDE(0, 0) + first, *squares = means + STRIDE(0, 1);
            for (int64_t c = 0; c < block; c++) {
                const double d = means[c] - mean[c];
                var[c] += squares[c] + pixels * (d * d);
            }
        }
        for (int64_t c = 0; c < block; c++) {
            var[c] /= count;
            F(1)[first + c] = (float)mean[c];
            F(2)[first + c] = (float)(1.0 / sqrt(var[c] + op->f[0]));
            F(3)[first + c] = (float)(F(3)[first + c] * op->f[1] + mean[c]);
            F(4)[first + c] = (float)(F(4)[first + c] * op->f[1] + var[c] * unbias);
        }
    }
}

/* The same from the running sums. a: mean, inv, blobs 0, 1, 2; f: eps. */
static void batch_norm_running(const brew_op *op) {
    const float weight = F(4)[0] == 0 ? 0 : 1 / F(4)[0];
    for (int64_t c = 0; c < SIZE(0, 0); c++) {
        F(0)[c] = F(2)[c] * weight;
        F(1)[c] = (float)(1.0 / sqrt(F(3)[c] * weight + op->f[0]));
    }
}

AI void normalise_row(float *y, const float *x, const float *mean, const float *inv, int64_t len) {
    for (int64_t c = 0; c < len; c++) y[c] = (x[c] - mean[c]) * inv[c];
}

/* y = (x - mean) * inv. a: x, y, mean, inv. */
static void batch_norm_forward(const brew_op *op) {
    repeated rooms[2];
    const int64_t channels = SIZE(2, 0), length = repeated_length(channels);
    const float *mean = repeat(&rooms[0], F(2), channels), *inv = repeat(&rooms[1], F(3), channels);
    FOR_ROWS(0, 1, 1, {
        if (s0 == 1 && s1 == 1)
            for (int64_t c = 0; c < len; c += length)
                normalise_row(p1 + c, p0 + c, mean, inv, BREW_MIN(length, len - c));
        else for (int64_t c = 0; c < len; c++) p1[c * s1] = (p0[c * s0] - mean[c]) * inv[c];
    });
}

/* The sums of dy and of dy y over each sample. a: y, dy, sums (samples, 2, channels; doubles). */
static void batch_norm_sums(const brew_op *op) {
    const pictures y = pictures_of(&op->a[0]), dy = pictures_of(&op->a[1]);
    for (int64_t n = 0; n < dy.count; n++) {
        double *sum = F64(2) + n * STRIDE(2, 0);
        memset(sum, 0, (size_t)(2 * dy.channels) * sizeof(double));
        picture_sums(DOT, &dy, &y, n, 0, 0, dy.channels, sum, sum + STRIDE(2, 1));
    }
}

/* Their means over all samples. a: sums, means (2, channels); i: pixels of a sample. */
static void batch_norm_means(const brew_op *op) {
    const double count = (double)(SIZE(0, 0) * op->i[0]);
    for (int64_t k = 0; k < 2; k++)
        for (int64_t first = 0; first < SIZE(0, 2); first += STATISTICS) {
            const int64_t block = BREW_MIN(STATISTICS, SIZE(0, 2) - first);
            double total[STATISTICS] = {0};
            for (int64_t n = 0; n < SIZE(0, 0); n++) {
                const double *sum = F64(0) + n * STRIDE(0, 0) + k * STRIDE(0, 1) + first;
                for (int64_t c = 0; c < block; c++) total[c] += sum[c];
            }
            for (int64_t c = 0; c < block; c++) F(1)[k * STRIDE(1, 0) + first + c] = (float)(total[c] / count);
        }
}

AI void normalise_back(float *dx, const float *dy, const float *y, const float *mean, const float *dot,
                       const float *inv, int64_t len) {
    for (int64_t c = 0; c < len; c++) dx[c] = (dy[c] - mean[c] - dot[c] * y[c]) * inv[c];
}

/* dx = (dy - mean(dy) - mean(dy y) y) * inv. a: y, dy, dx, inv, means of dy and dy y. */
static void batch_norm_backward(const brew_op *op) {
    repeated rooms[3];
    const int64_t channels = SIZE(3, 0), length = repeated_length(channels);
    const float *mean = repeat(&rooms[0], F(4), channels), *dot = repeat(&rooms[1], F(4) + STRIDE(4, 0), channels);
    const float *inv = repeat(&rooms[2], F(3), channels);
    FOR_ROWS(0, 1, 2, {
        if (s0 == 1 && s1 == 1 && s2 == 1)
            for (int64_t c = 0; c < len; c += length)
                normalise_back(p2 + c, p1 + c, p0 + c, mean, dot, inv, BREW_MIN(length, len - c));
        else
            for (int64_t c = 0; c < len; c++) p2[c * s2] = (p1[c * s1] - mean[c] - dot[c] * p0[c * s0]) * inv[c];
    });
}
