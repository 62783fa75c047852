/* One instruction set: the includer defines ISA, VL (floats in a vector), MR (rows of the register block) and,
 * where it is not the baseline, TARGET. Every kernel file is compiled once for each. */
#include "brew.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define TABLE PASTE(brew_table_, ISA)

#if defined(TARGET) && !(defined(__x86_64__) || defined(__i386__))
const brew_entry TABLE[] = {{0, 0, 0}};
#else

#ifdef TARGET
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target(TARGET))), apply_to = function)
#else
#define PRAGMA_(x) _Pragma(#x)
#define PRAGMA(x) PRAGMA_(x)
#pragma GCC push_options
PRAGMA(GCC target(TARGET))
#endif
#endif

#include "turn.h"
#include "gemm.h"
#include "correlation.h"
#include "depthwise.h"
#include "few.h"
#include "conv.h"
#include "rows.h"
#include "channels.h"
#include "winograd_points.h"
#include "winograd.h"
#include "winograd_gradient.h"
#include "dense.h"
#include "pool.h"
#include "neuron.h"
#include "activation.h"
#include "eltwise.h"
#include "scale.h"
#include "batch_norm.h"
#include "lrn.h"
#include "loss.h"
#include "sigmoid_loss.h"
#include "pictures.h"
#include "update.h"
#include "peak.h"

const brew_entry TABLE[] = {
    {"conv_forward", conv_forward, "nwwn"},
    {"conv_backward_weight", conv_backward_weight, "nns"},
    {"conv_flip", conv_flip, 0},
    {"conv_backward_data", conv_backward_data, "nwwn"},
    {"winograd_weights", winograd_weights, 0},
    {"winograd_forward", winograd_forward, "nwwn"},
    {"winograd_backward_weight", winograd_backward_weight, "nns"},
    {"dense_forward", dense_forward, "nwwn"},
    {"dense_backward_weight", dense_backward_weight, "nns|rwk"},
    {"bias_backward", bias_backward, "ns"},
    {"copy", copy, "nn"},
    {"add", add, "nn"},
    {"fill", fill, "n"},
    {"move_gradient", move_gradient, "ss"},
    {"merge_sums", move_gradient, "nn"},
    {"clear_sums", clear_sums, "n"},
    {"pool_max_forward", pool_max_forward, "nnn"},
    {"pool_max_backward", pool_max_backward, "nnn"},
    {"pool_mask", pool_mask, "nn"},
    {"pool_ave_forward", pool_ave_forward, "nn"},
    {"pool_ave_backward", pool_ave_backward, "nn"},
    {"relu_forward", relu_forward, "nn"},
    {"relu_backward", relu_backward, "nnn"},
    {"sigmoid_forward", sigmoid_forward, "nn"},
    {"sigmoid_backward", sigmoid_backward, "nnn"},
    {"tanh_forward", tanh_forward, "nn"},
    {"tanh_backward", tanh_backward, "nnn"},
    {"dropout_forward", dropout_forward, "nnnn"},
    {"dropout_backward", dropout_backward, "nnn"},
    {"abs_forward", abs_forward, "nn"},
    {"abs_backward", abs_backward, "nnn"},
    {"bnll_forward", bnll_forward, "nn"},
    {"bnll_backward", bnll_backward, "nnn"},
    {"clip_forward", clip_forward, "nn"},
    {"clip_backward", clip_backward, "nnn"},
    {"elu_forward", elu_forward, "nn"},
    {"elu_backward", elu_backward, "nnn"},
    {"exp_forward", exp_forward, "nn"},
    {"exp_backward", exp_backward, "nnn"},
    {"log_forward", log_forward, "nn"},
    {"log_backward", log_backward, "nnn"},
    {"power_forward", power_forward, "nn"},
    {"power_backward", power_backward, "nnnn"},
    {"prelu_forward", prelu_forward, "nnn"},
    {"prelu_backward", prelu_backward, "nnnn"},
    {"prelu_backward_slope", prelu_backward_slope, "nns"},
    {"swish_forward", swish_forward, "nn"},
    {"swish_backward", swish_backward, "nnn"},
    {"threshold_forward", threshold_forward, "nn"},
    {"scaled", scaled, "nn"},
    {"eltwise_sum", eltwise_sum, "nnn"},
    {"eltwise_product", eltwise_product, "nnn"},
    {"eltwise_quotient", eltwise_quotient, "nnn"},
    {"eltwise_max", eltwise_max, "nnnn"},
    {"eltwise_max_backward", eltwise_max_backward, "nnn"},
    {"scale_forward", scale_forward, "nnnn"},
    {"scale_backward_data", scale_backward_data, "nnn"},
    {"scale_backward_parameters", scale_backward_parameters, "nnss"},
    {"scale_backward_bottom", scale_backward_bottom, 0},
    {"lrn_across_forward", lrn_across_forward, "nnn"},
    {"lrn_across_backward", lrn_across_backward, "nnnnnn"},
    {"lrn_within_forward", lrn_within_forward, "nnn"},
    {"lrn_within_backward", lrn_within_backward, "nnnnnn"},
    {"batch_norm_statistics", batch_norm_statistics, "nn"},
    {"batch_norm_moments", batch_norm_moments, 0},
    {"batch_norm_running", batch_norm_running, 0},
    {"batch_norm_forward", batch_norm_forward, "nnww"},
    {"batch_norm_sums", batch_norm_sums, "nnn"},
    {"batch_norm_means", batch_norm_means, 0},
    {"batch_norm_backward", batch_norm_backward, "nnnww"},
    {"softmax_forward", softmax_forward, "nn"},
    {"softmax_backward", softmax_backward, "nnn"},
    {"softmax_loss_forward", softmax_loss_forward, "nnnlls"},
    {"softmax_loss_backward", softmax_loss_backward, "nnnwl"},
    {"euclidean_forward", euclidean_forward, "nnls"},
    {"euclidean_backward", euclidean_backward, "nnnw"},
    {"sigmoid_loss_forward", sigmoid_loss_forward, "nnlls"},
    {"sigmoid_loss_backward", sigmoid_loss_backward, "nnnwl"},
    {"accuracy_forward", accuracy_forward, "nnllsl"},
    {"pictures_bytes", pictures_bytes, "wnnwn"},
    {"pictures_floats", pictures_floats, "wnnwn"},
    {"take_labels", take_labels, "wnn"},
    {"sgd_update", sgd_update, "nnnw"},
    {"nesterov_update", nesterov_update, "nnnw"},
    {"adagrad_update", adagrad_update, "nnnw"},
    {"rmsprop_update", rmsprop_update, "nnnw"},
    {"adadelta_update", adadelta_update, "nnnnw"},
    {"adam_update", adam_update, "nnnnw"},
    {"sum_squares", sum_squares, 0},
    {"peak_multiply_add", peak_multiply_add, 0},
    {"peak_read", peak_read, 0},
    {"peak_copy", peak_copy, 0},
    {0, 0, 0},
};

#ifdef TARGET
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
#endif
