"""What every layer, loss, optimizer, initializer and metric means: the texts' sums as plain loops over plain numbers.

This is the specification that the rest of the library is held against. It shares no code and no arrays with the rest,
so a mistake made there is not repeated here. It is written to be read beside the text, line by line; speed is no
concern.

A vector is a list, a matrix a list of rows; X[i] is instance (i), images are X[i][row][column][channel]. Entries are
ints, floats or Fractions: where no exp, log, erf, tanh or square root enters, the result is exact.

Sources are Jiang, "A mathematical understanding of deep learning", and Kasliwal, "The mathematics of deep learning".
*Stated*: the text has the formula. *Headed*: the text has the heading and no formula. *Ours*: neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

Number = Any
"""An int, a float or a Fraction."""
Row = Sequence[Number]
Rows = Sequence[Row]
Sequences = Sequence[Rows]
"""X[i][row][channel]."""
Images = Sequence[Sequences]
"""X[i][row][column][channel]."""
Pair = tuple[int, int]


# ---------------------------------------------------------------------------------------------------- matrices


def transpose(A: Rows) -> list[list[Number]]:
    """[Aᵀ]_{j,i} = [A]_{i,j}. Source: Jiang, section 2, Notation 1 (stated)."""
    return [[A[i][j] for i in range(len(A))] for j in range(len(A[0]))]


def matrix_product(A: Rows, B: Rows) -> list[list[Number]]:
    """[AB]_{i,j} = Σ_k [A]_{i,k} [B]_{k,j}. Source: Jiang, section 2, Definition 2 (stated)."""
    C = []
    for i in range(len(A)):
        row = []
        for j in range(len(B[0])):
            total = 0
            for k in range(len(B)):
                total = total + A[i][k] * B[k][j]
            row.append(total)
        C.append(row)
    return C


def vectorwise(phi: Callable[[Row], Row], Z: Rows) -> list[list[Number]]:
    """[phi(Z)]_{i,:} = phi([Z]_{i,:}): a function of a vector, row by row.

    Source: Jiang, section 2, Definition 3 (headed).
    """
    return [list(phi(Z[i])) for i in range(len(Z))]


# ------------------------------------------------------------------------------------- perceptron and dense layer


def perceptron(y: Row, w: Row, b: Number, phi: Callable[[Number], Number]) -> Number:
    """phi(Σ_j w_j y_j + b): y and w vectors, b and the result numbers.

    Source: Jiang, section 3, Definition 4 (headed).
    """
    total = 0
    for j in range(len(y)):
        total = total + w[j] * y[j]
    return phi(total + b)


def dense(X: Rows, W: Rows, b: Row | None = None) -> list[list[Number]]:
    """Z_{i,j} = Σ_k X_{i,k} W_{k,j} + b_j; b None is b = 0.

    Source: Jiang, section 2, Definition 2 (the product, stated) and section 4 (headed); Kasliwal, section 5 (headed).
    """
    Z = []
    for i in range(len(X)):
        row = []
        for j in range(len(W[0])):
            total = 0
            for k in range(len(W)):
                total = total + X[i][k] * W[k][j]
            row.append(total if b is None else total + b[j])
        Z.append(row)
    return Z


# -------------------------------------------------------------------------------------------- sliding windows


def window_size(p: int, f: int, s: int = 1, padding: Pair = (0, 0), d: int = 1) -> int:
    """How often a window of f taps, d apart, fits into `before` + p + `after` places when it moves by s.

    floor((before + p + after - (d (f - 1) + 1)) / s) + 1, and 0 where it fits nowhere.
    Source: Kasliwal, sections 6 and 7 (headed).
    """
    before, after = padding
    extent = d * (f - 1) + 1
    room = before + p + after - extent
    if room < 0:
        return 0
    return room // s + 1


def same_padding(p: int, f: int, s: int = 1, d: int = 1) -> Pair:
    """(before, after) such that the output has ceil(p / s) places: the least padding, the odd place after.

    before + after = max((ceil(p / s) - 1) s + d (f - 1) + 1 - p, 0). Source: ours.
    """
    output = (p + s - 1) // s
    total = max((output - 1) * s + d * (f - 1) + 1 - p, 0)
    return total // 2, total - total // 2


# ------------------------------------------------------------------------------------------------- convolution


def conv1d(
    X: Sequences,
    W: Sequences,
    b: Row | None = None,
    stride: int = 1,
    padding: Pair = (0, 0),
    dilation: int = 1,
    groups: int = 1,
) -> list[list[list[Number]]]:
    """Z_{i,u,o} = Σ_a Σ_c X_{i, u s + a d - before, first + c} W_{a,c,o} + b_o.

    X[i][row][channel], W[a][c][o], s the stride, d the dilation. W is not flipped (a cross-correlation, as all over the
    field), and X is 0 outside its rows. With g groups, the k input channels and the output channels are cut into g
    equal runs; the outputs o of run number r see the k/g inputs of run number r, and `first` is where that one starts.
    Source: Kasliwal, section 6 (headed).
    """
    p, k = len(X[0]), len(X[0][0])
    f, seen, outputs = len(W), len(W[0]), len(W[0][0])
    assert seen * groups == k
    assert outputs % groups == 0
    Z = []
    for i in range(len(X)):
        instance = []
        for u in range(window_size(p, f, stride, padding, dilation)):
            place = []
            for o in range(outputs):
                group = o // (outputs // groups)
                first = group * (k // groups)
                total = 0
                for a in range(f):
                    row = u * stride + a * dilation - padding[0]
                    if 0 <= row < p:
                        for c in range(seen):
                            total = total + X[i][row][first + c] * W[a][c][o]
                place.append(total if b is None else total + b[o])
            instance.append(place)
        Z.append(instance)
    return Z


def conv2d(
    X: Images,
    W: Images,
    b: Row | None = None,
    stride: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> list[list[list[list[Number]]]]:
    """Z_{i,u,v,o} = Σ_a Σ_a2 Σ_c X_{i, u s + a d - top, v s2 + a2 d2 - left, first + c} W_{a,a2,c,o} + b_o.

    X[i][row][column][channel], W[a][a2][c][o], stride (s, s2), dilation (d, d2), padding of rows and of columns:
    ((top, bottom), (left, right)). As in `conv1d`, W is not flipped, X is 0 outside its rows and columns, and run r of
    the output channels sees run r of the input channels.
    Source: Kasliwal, section 6 and, for kernels of 1 by 1, section 6.1 (headed).
    """
    p, q, k = len(X[0]), len(X[0][0]), len(X[0][0][0])
    f, f2, seen, outputs = len(W), len(W[0]), len(W[0][0]), len(W[0][0][0])
    assert seen * groups == k
    assert outputs % groups == 0
    Z = []
    for i in range(len(X)):
        image = []
        for u in range(window_size(p, f, stride[0], padding[0], dilation[0])):
            line = []
            for v in range(window_size(q, f2, stride[1], padding[1], dilation[1])):
                pixel = []
                for o in range(outputs):
                    group = o // (outputs // groups)
                    first = group * (k // groups)
                    total = 0
                    for a in range(f):
                        for a2 in range(f2):
                            row = u * stride[0] + a * dilation[0] - padding[0][0]
                            column = v * stride[1] + a2 * dilation[1] - padding[1][0]
                            if 0 <= row < p and 0 <= column < q:
                                for c in range(seen):
                                    total = total + X[i][row][column][first + c] * W[a][a2][c][o]
                    pixel.append(total if b is None else total + b[o])
                line.append(pixel)
            image.append(line)
        Z.append(image)
    return Z


# ----------------------------------------------------------------------------------------------------- pooling


def largest(values: Row) -> Number:
    """max of the values, NaN if one is NaN, -inf if there is none."""
    best = -math.inf
    for value in values:
        if value != value:
            return value
        if value > best:
            best = value
    return best


def max_pool1d(X: Sequences, size: int, stride: int, padding: Pair = (0, 0)) -> list[list[list[Number]]]:
    """A_{i,u,c} = max_a X_{i, u s + a - before, c} over the places inside X: padding is -inf.

    X[i][row][channel]. Source: Kasliwal, section 7 (headed).
    """
    p, k = len(X[0]), len(X[0][0])
    A = []
    for i in range(len(X)):
        instance = []
        for u in range(window_size(p, size, stride, padding)):
            place = []
            for c in range(k):
                window = []
                for a in range(size):
                    row = u * stride + a - padding[0]
                    if 0 <= row < p:
                        window.append(X[i][row][c])
                place.append(largest(window))
            instance.append(place)
        A.append(instance)
    return A


def max_pool2d(
    X: Images, size: Pair, stride: Pair, padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
) -> list[list[list[list[Number]]]]:
    """A_{i,u,v,c} = max_{a,a2} X_{i, u s + a - top, v s2 + a2 - left, c} over the places inside X: padding is -inf.

    X[i][row][column][channel], padding ((top, bottom), (left, right)). Source: Kasliwal, section 7 (headed).
    """
    p, q, k = len(X[0]), len(X[0][0]), len(X[0][0][0])
    A = []
    for i in range(len(X)):
        image = []
        for u in range(window_size(p, size[0], stride[0], padding[0])):
            line = []
            for v in range(window_size(q, size[1], stride[1], padding[1])):
                pixel = []
                for c in range(k):
                    window = []
                    for a in range(size[0]):
                        for a2 in range(size[1]):
                            row = u * stride[0] + a - padding[0][0]
                            column = v * stride[1] + a2 - padding[1][0]
                            if 0 <= row < p and 0 <= column < q:
                                window.append(X[i][row][column][c])
                    pixel.append(largest(window))
                line.append(pixel)
            image.append(line)
        A.append(image)
    return A


def max_pool1d_backward(
    X: Sequences, dA: Sequences, size: int, stride: int, padding: Pair = (0, 0)
) -> list[list[list[Number]]]:
    """dX of `max_pool1d`: dA_{i,u,c} goes to the first largest element of its window; where windows overlap, they add.

    A window with a NaN gives to its first NaN. Source: ours.
    """
    p, k = len(X[0]), len(X[0][0])
    dX = [[[0 for _ in range(k)] for _ in range(p)] for _ in range(len(X))]
    for i in range(len(X)):
        for u in range(window_size(p, size, stride, padding)):
            for c in range(k):
                winner = None
                for a in range(size):
                    row = u * stride + a - padding[0]
                    if 0 <= row < p and (winner is None or _beats(X[i][row][c], X[i][winner][c])):
                        winner = row
                if winner is not None:
                    dX[i][winner][c] = dX[i][winner][c] + dA[i][u][c]
    return dX


def max_pool2d_backward(
    X: Images, dA: Images, size: Pair, stride: Pair, padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
) -> list[list[list[list[Number]]]]:
    """dX of `max_pool2d`: dA_{i,u,v,c} goes to the first largest element of its window, in row-major order.

    Where windows overlap, their gradients add. A window with a NaN gives to its first NaN. Source: ours.
    """
    p, q, k = len(X[0]), len(X[0][0]), len(X[0][0][0])
    dX = [[[[0 for _ in range(k)] for _ in range(q)] for _ in range(p)] for _ in range(len(X))]
    for i in range(len(X)):
        for u in range(window_size(p, size[0], stride[0], padding[0])):
            for v in range(window_size(q, size[1], stride[1], padding[1])):
                for c in range(k):
                    winner = None
                    for a in range(size[0]):
                        for a2 in range(size[1]):
                            row = u * stride[0] + a - padding[0][0]
                            column = v * stride[1] + a2 - padding[1][0]
                            if 0 <= row < p and 0 <= column < q:
                                x = X[i][row][column][c]
                                if winner is None or _beats(x, X[i][winner[0]][winner[1]][c]):
                                    winner = (row, column)
                    if winner is not None:
                        row, column = winner
                        dX[i][row][column][c] = dX[i][row][column][c] + dA[i][u][v][c]
    return dX


def _beats(x: Number, best: Number) -> bool:
    """Whether x takes the place of the best before it: larger, or the first NaN. A tie does not."""
    if best != best:
        return False
    return bool(x != x or x > best)


def average_pool1d(
    X: Sequences, size: int, stride: int, padding: Pair = (0, 0), count_padding: bool = False
) -> list[list[list[Number]]]:
    """A_{i,u,c} = (1/N) Σ_a X_{i, u s + a - before, c} over the places inside X: padding is 0.

    N is the size of the window if padding counts, and else the number of its places inside X.
    Source: Kasliwal, section 7 (headed).
    """
    p, k = len(X[0]), len(X[0][0])
    A = []
    for i in range(len(X)):
        instance = []
        for u in range(window_size(p, size, stride, padding)):
            place = []
            for c in range(k):
                total, inside = 0, 0
                for a in range(size):
                    row = u * stride + a - padding[0]
                    if 0 <= row < p:
                        total = total + X[i][row][c]
                        inside = inside + 1
                place.append(total / (size if count_padding else inside))
            instance.append(place)
        A.append(instance)
    return A


def average_pool2d(
    X: Images,
    size: Pair,
    stride: Pair,
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    count_padding: bool = False,
) -> list[list[list[list[Number]]]]:
    """A_{i,u,v,c} = (1/N) Σ_a Σ_a2 X_{i, u s + a - top, v s2 + a2 - left, c} over the places inside X: padding is 0.

    N is the size f f2 of the window if padding counts, and else the number of its places inside X.
    Source: Kasliwal, section 7 (headed).
    """
    p, q, k = len(X[0]), len(X[0][0]), len(X[0][0][0])
    A = []
    for i in range(len(X)):
        image = []
        for u in range(window_size(p, size[0], stride[0], padding[0])):
            line = []
            for v in range(window_size(q, size[1], stride[1], padding[1])):
                pixel = []
                for c in range(k):
                    total, inside = 0, 0
                    for a in range(size[0]):
                        for a2 in range(size[1]):
                            row = u * stride[0] + a - padding[0][0]
                            column = v * stride[1] + a2 - padding[1][0]
                            if 0 <= row < p and 0 <= column < q:
                                total = total + X[i][row][column][c]
                                inside = inside + 1
                    pixel.append(total / (size[0] * size[1] if count_padding else inside))
                line.append(pixel)
            image.append(line)
        A.append(image)
    return A


def global_max_pool1d(X: Sequences) -> list[list[Number]]:
    """A_{i,c} = max_u X_{i,u,c}. Source: Kasliwal, section 7 (headed)."""
    p, k = len(X[0]), len(X[0][0])
    return [[largest([X[i][u][c] for u in range(p)]) for c in range(k)] for i in range(len(X))]


def global_max_pool2d(X: Images) -> list[list[Number]]:
    """A_{i,c} = max_{u,v} X_{i,u,v,c}. Source: Kasliwal, section 7 (headed)."""
    p, q, k = len(X[0]), len(X[0][0]), len(X[0][0][0])
    return [[largest([X[i][u][v][c] for u in range(p) for v in range(q)]) for c in range(k)] for i in range(len(X))]


def global_average_pool1d(X: Sequences) -> list[list[Number]]:
    """A_{i,c} = (1/p) Σ_u X_{i,u,c}. Source: Kasliwal, section 7 (headed)."""
    p, k = len(X[0]), len(X[0][0])
    return [[sum(X[i][u][c] for u in range(p)) / p for c in range(k)] for i in range(len(X))]


def global_average_pool2d(X: Images) -> list[list[Number]]:
    """A_{i,c} = (1/(p q)) Σ_u Σ_v X_{i,u,v,c}. Source: Kasliwal, section 7 (headed)."""
    p, q, k = len(X[0]), len(X[0][0]), len(X[0][0][0])
    return [[sum(X[i][u][v][c] for u in range(p) for v in range(q)) / (p * q) for c in range(k)] for i in range(len(X))]


def flatten(image: Any) -> list[Number]:
    """One instance as a vector: the last index runs fastest (rows, columns, channels). Source: ours."""
    entries = []
    for part in image:
        if isinstance(part, list | tuple):
            entries.extend(flatten(part))
        else:
            entries.append(part)
    return entries


# ------------------------------------------------------------------------------------------------- activations


def sigmoid(z: Number) -> float:
    """1 / (1 + exp(-z)); for z < 0 the same number as exp(z) / (1 + exp(z)), which cannot overflow.

    Source: Kasliwal, section 3.1, equation (1) (stated).
    """
    if z < 0:
        return math.exp(z) / (1 + math.exp(z))
    return 1 / (1 + math.exp(-z))


def sigmoid_derivative(z: Number) -> float:
    """s(z) (1 - s(z)) with s the sigmoid, and 1 - s(z) = s(-z).

    Source: Kasliwal, section 3.1, equation (2) (stated).
    """
    return sigmoid(z) * sigmoid(-z)


def tanh(z: Number) -> float:
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z)). Source: ours."""
    return math.tanh(z)


def tanh_derivative(z: Number) -> float:
    """1 - tanh(z)². Source: ours."""
    return 1 - math.tanh(z) * math.tanh(z)


def relu(z: Number) -> Number:
    """max(z, 0); NaN stays NaN. Source: Jiang, section 1 (named); the formula is ours."""
    return 0 if z <= 0 else z


def relu_derivative(z: Number) -> int:
    """1 for z > 0, and else 0. Convention: ReLU'(0) = 0. Source: ours."""
    return 1 if z > 0 else 0


def leaky_relu(z: Number, alpha: Number) -> Number:
    """z for z > 0, and else alpha z. Source: ours (Maas, Hannun and Ng, 2013)."""
    return alpha * z if z <= 0 else z


def leaky_relu_derivative(z: Number, alpha: Number) -> Number:
    """1 for z > 0, and else alpha. Convention: LeakyReLU'(0) = alpha. Source: ours."""
    return 1 if z > 0 else alpha


def elu(z: Number, alpha: Number) -> Number:
    """z for z > 0, and else alpha (exp(z) - 1). Source: ours (Clevert, Unterthiner and Hochreiter, 2015)."""
    return alpha * math.expm1(z) if z <= 0 else z


def elu_derivative(z: Number, alpha: Number) -> Number:
    """1 for z > 0, and else alpha exp(z). Convention: ELU'(0) = alpha. Source: ours."""
    return 1 if z > 0 else alpha * math.exp(z)


def softplus(z: Number) -> float:
    """log(1 + exp(z)), which is max(z, 0) + log(1 + exp(-|z|)). Source: ours (Dugas and others, 2001)."""
    return float(max(z, 0) + math.log1p(math.exp(-abs(z))))


def softplus_derivative(z: Number) -> float:
    """The sigmoid. Source: ours."""
    return sigmoid(z)


def silu(z: Number) -> float:
    """z s(z) with s the sigmoid. Source: ours (Elfwing, Uchibe and Doya, 2017)."""
    return float(z * sigmoid(z))


def silu_derivative(z: Number) -> float:
    """s(z) + z s(z) (1 - s(z)) with s the sigmoid. Source: ours."""
    return float(sigmoid(z) + z * sigmoid(z) * sigmoid(-z))


def normal_distribution(z: Number) -> float:
    """P(N ≤ z) for N standard normal: (1 + erf(z / √2)) / 2 = erfc(-z / √2) / 2, the latter accurate for z < 0."""
    return math.erfc(-z / math.sqrt(2)) / 2


def normal_density(z: Number) -> float:
    """exp(-z²/2) / √(2π)."""
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def gelu(z: Number) -> float:
    """z P(N ≤ z) for N standard normal: the exact form, no tanh. Source: ours (Hendrycks and Gimpel, 2016)."""
    return float(z * normal_distribution(z))


def gelu_derivative(z: Number) -> float:
    """P(N ≤ z) + z φ(z), φ the standard normal density. Source: ours."""
    return float(normal_distribution(z) + z * normal_density(z))


# ----------------------------------------------------------------------------------------------- output layers


def softmax(row: Row) -> list[float]:
    """P_j = exp(z_j) / Σ_k exp(z_k), with the largest z taken off all, which changes nothing and cannot overflow.

    Source: Jiang, section 1 (named); Kasliwal, section 4 (headed).
    """
    shift = max(row)
    total: Number = 0
    for z in row:
        total = total + math.exp(z - shift)
    return [math.exp(z - shift) / total for z in row]


def log_softmax(row: Row) -> list[float]:
    """log P_j = z_j - log Σ_k exp(z_k), with the largest z taken off all. Source: Kasliwal, section 4 (headed)."""
    shift = max(row)
    total: Number = 0
    for z in row:
        total = total + math.exp(z - shift)
    return [(z - shift) - math.log(total) for z in row]


def softmax_jacobian(row: Row) -> list[list[float]]:
    """J_{j,k} = ∂P_j/∂z_k = P_j ([j = k] - P_k). Source: Jiang, section 1 (softmax named); the formula is ours."""
    P = softmax(row)
    return [[P[j] * ((1 if j == k else 0) - P[k]) for k in range(len(P))] for j in range(len(P))]


def log_softmax_jacobian(row: Row) -> list[list[float]]:
    """J_{j,k} = ∂(log P_j)/∂z_k = [j = k] - P_k. Source: ours."""
    P = softmax(row)
    return [[(1 if j == k else 0) - P[k] for k in range(len(P))] for j in range(len(P))]


# ------------------------------------------------------------------------------- dropout, normalization, residual


def dropout(row: Any, keep: Any, rate: Number) -> list[Any]:
    """A_j = X_j / (1 - rate) where keep_j is true, and else 0: a kept entry has the mean of the whole in expectation.

    `row` and `keep` have the same shape, a vector or anything nested. Source: ours (Srivastava and others, 2014, scaled
    while training).
    """
    dropped: list[Any] = []
    for j in range(len(row)):
        if isinstance(row[j], list | tuple):
            dropped.append(dropout(row[j], keep[j], rate))
        else:
            dropped.append(row[j] / (1 - rate) if keep[j] else 0)
    return dropped


def feature_means(X: Rows) -> list[Number]:
    """μ_j = (1/n) Σ_i X_{i,j}. Source: ours."""
    n = len(X)
    return [sum(X[i][j] for i in range(n)) / n for j in range(len(X[0]))]


def feature_variances(X: Rows) -> list[Number]:
    """v_j = (1/n) Σ_i (X_{i,j} - μ_j)²: the biased variance, divided by n and not by n - 1. Source: ours."""
    n, mean = len(X), feature_means(X)
    return [sum((X[i][j] - mean[j]) ** 2 for i in range(n)) / n for j in range(len(X[0]))]


def batch_norm(X: Rows, gamma: Row, beta: Row, epsilon: Number) -> list[list[float]]:
    """A_{i,j} = gamma_j (X_{i,j} - μ_j) / √(v_j + epsilon) + beta_j, with the minibatch's mean μ and biased variance v.

    X[i][feature]; for images the feature is the channel and every pixel of every instance is a row of X.
    Source: ours (Ioffe and Szegedy, 2015, algorithm 1).
    """
    return batch_norm_inference(X, gamma, beta, feature_means(X), feature_variances(X), epsilon)


def batch_norm_inference(
    X: Rows, gamma: Row, beta: Row, mean: Row, variance: Row, epsilon: Number
) -> list[list[float]]:
    """A_{i,j} = gamma_j (X_{i,j} - mean_j) / √(variance_j + epsilon) + beta_j, with given statistics.

    Source: ours (Ioffe and Szegedy, 2015, algorithm 2).
    """
    A = []
    for i in range(len(X)):
        row = []
        for j in range(len(X[i])):
            row.append(gamma[j] * (X[i][j] - mean[j]) / math.sqrt(variance[j] + epsilon) + beta[j])
        A.append(row)
    return A


def batch_norm_running(old: Row, batch: Row, momentum: Number) -> list[Number]:
    """new_j = momentum old_j + (1 - momentum) batch_j, for a running mean and for a running variance. Source: ours."""
    return [momentum * old[j] + (1 - momentum) * batch[j] for j in range(len(old))]


def layer_norm(row: Any, gamma: Row, beta: Row, epsilon: Number) -> list[Any]:
    """A_j = gamma_j (x_j - μ) / √(v + epsilon) + beta_j, with the mean μ and the biased variance v of the row itself.

    A list of rows gives a list of rows. Source: ours (Ba, Kiros and Hinton, 2016).
    """
    if isinstance(row[0], list | tuple):
        return [layer_norm(part, gamma, beta, epsilon) for part in row]
    n = len(row)
    mean = sum(row) / n
    variance = sum((x - mean) ** 2 for x in row) / n
    return [gamma[j] * (row[j] - mean) / math.sqrt(variance + epsilon) + beta[j] for j in range(n)]


def residual(branch: Any, shortcut: Any) -> list[Any]:
    """branch + shortcut, entry by entry, both of the same shape. Source: ours (He, Zhang, Ren and Sun, 2015)."""
    total: list[Any] = []
    for j in range(len(branch)):
        if isinstance(branch[j], list | tuple):
            total.append(residual(branch[j], shortcut[j]))
        else:
            total.append(branch[j] + shortcut[j])
    return total


# ------------------------------------------------------------------------------------------------------ losses


def weighted_mean(losses: Row, w: Row | None = None) -> Number:
    """J = Σ_i w_i l_i / Σ_i w_i; w None: all weights are 1. Source: ours (Jiang, section 4: n samples)."""
    above, below = 0, 0
    for i in range(len(losses)):
        weight = 1 if w is None else w[i]
        above = above + weight * losses[i]
        below = below + weight
    return above / below


def one_hot(labels: Sequence[int], classes: int) -> list[list[int]]:
    """Y_{i,j} = 1 if j is the label of (i), and else 0. Source: Jiang, section 4, Definition 2 (stated)."""
    return [[1 if j == label else 0 for j in range(classes)] for label in labels]


def smooth_labels(Y: Rows, epsilon: Number) -> list[list[Number]]:
    """(1 - epsilon) Y_{i,j} + epsilon / l, with l the number of labels. Source: ours (Szegedy and others, 2015)."""
    return [[(1 - epsilon) * y + epsilon / len(row) for y in row] for row in Y]


def smooth_binary_labels(Y: Rows, epsilon: Number) -> list[list[Number]]:
    """(1 - epsilon) Y_{i,j} + epsilon / 2: each output has two labels, 0 and 1. Source: ours."""
    return [[(1 - epsilon) * y + epsilon / 2 for y in row] for row in Y]


def times_log(y: Number, p: Number) -> Number:
    """y log p, with 0 log p = 0 for every p, and y log 0 = -inf for y > 0."""
    if y == 0:
        return 0
    if p == 0:
        return -math.inf
    return y * math.log(p)


def categorical_cross_entropy(P: Rows, Y: Rows, w: Row | None = None) -> float:
    """The weighted mean of l_i = -Σ_j Y_{i,j} log P_{i,j}. Source: Jiang, section 1 (named); the formula is ours."""
    losses = []
    for i in range(len(P)):
        loss = 0
        for j in range(len(P[i])):
            loss = loss - times_log(Y[i][j], P[i][j])
        losses.append(loss)
    return float(weighted_mean(losses, w))


def categorical_cross_entropy_logits(Z: Rows, Y: Rows, w: Row | None = None) -> float:
    """The weighted mean of l_i = -Σ_j Y_{i,j} (log softmax Z_i)_j; where Y_{i,j} = 0 the term is 0, for z = -inf too.

    Source: Jiang, section 1 (named); the formula is ours.
    """
    losses = []
    for i in range(len(Z)):
        log_P = log_softmax(Z[i])
        loss = 0
        for j in range(len(Z[i])):
            if Y[i][j] != 0:
                loss = loss - Y[i][j] * log_P[j]
        losses.append(loss)
    return float(weighted_mean(losses, w))


def binary_cross_entropy(P: Rows, Y: Rows, w: Row | None = None) -> float:
    """The weighted mean of l_i = -(1/l) Σ_j (Y_{i,j} log P_{i,j} + (1 - Y_{i,j}) log(1 - P_{i,j})). Source: ours."""
    losses = []
    for i in range(len(P)):
        loss = 0
        for j in range(len(P[i])):
            loss = loss - times_log(Y[i][j], P[i][j]) - times_log(1 - Y[i][j], 1 - P[i][j])
        losses.append(loss / len(P[i]))
    return float(weighted_mean(losses, w))


def binary_cross_entropy_logits(Z: Rows, Y: Rows, w: Row | None = None) -> float:
    """`binary_cross_entropy` of P = sigmoid(Z): -log s(z) = softplus(-z) and -log(1 - s(z)) = softplus(z).

    Source: ours.
    """
    losses = []
    for i in range(len(Z)):
        loss = 0
        for j in range(len(Z[i])):
            if Y[i][j] != 0:
                loss = loss + Y[i][j] * softplus(-Z[i][j])
            if Y[i][j] != 1:
                loss = loss + (1 - Y[i][j]) * softplus(Z[i][j])
        losses.append(loss / len(Z[i]))
    return float(weighted_mean(losses, w))


def mean_squared_error(P: Rows, Y: Rows, w: Row | None = None) -> Number:
    """The weighted mean of l_i = (1/d) Σ_j (P_{i,j} - Y_{i,j})². Source: ours."""
    losses = []
    for i in range(len(P)):
        loss = 0
        for j in range(len(P[i])):
            loss = loss + (P[i][j] - Y[i][j]) ** 2
        losses.append(loss / len(P[i]))
    return weighted_mean(losses, w)


def mean_absolute_error(P: Rows, Y: Rows, w: Row | None = None) -> Number:
    """The weighted mean of l_i = (1/d) Σ_j |P_{i,j} - Y_{i,j}|. Source: ours."""
    losses = []
    for i in range(len(P)):
        loss = 0
        for j in range(len(P[i])):
            loss = loss + abs(P[i][j] - Y[i][j])
        losses.append(loss / len(P[i]))
    return weighted_mean(losses, w)


def huber(P: Rows, Y: Rows, w: Row | None = None, delta: Number = 1) -> Number:
    """The weighted mean of l_i = (1/d) Σ_j h(P_{i,j} - Y_{i,j}).

    h(e) = e²/2 for |e| ≤ delta, and else delta (2|e| - delta)/2. Source: ours (Huber, 1964).
    """
    losses = []
    for i in range(len(P)):
        loss = 0
        for j in range(len(P[i])):
            e = P[i][j] - Y[i][j]
            h = e * e / 2 if abs(e) <= delta else delta * (2 * abs(e) - delta) / 2
            loss = loss + h
        losses.append(loss / len(P[i]))
    return weighted_mean(losses, w)


def poisson(P: Rows, Y: Rows, w: Row | None = None) -> Number:
    """The weighted mean of l_i = (1/d) Σ_j (P_{i,j} - Y_{i,j} log P_{i,j}), P the rates; without log(Y!).

    Source: ours.
    """
    losses = []
    for i in range(len(P)):
        loss = 0
        for j in range(len(P[i])):
            loss = loss + P[i][j] - times_log(Y[i][j], P[i][j])
        losses.append(loss / len(P[i]))
    return weighted_mean(losses, w)


def penalty(W: Any, l1: Number, l2: Number) -> Number:
    """l1 Σ |W| + l2/2 Σ W², over the entries of W. Source: ours."""
    absolute, squared = 0, 0
    for entry in flatten(W):
        absolute = absolute + abs(entry)
        squared = squared + entry * entry
    return l1 * absolute + l2 * squared / 2


# -------------------------------------------------------------------------------------------------- optimizers


def sgd_step(
    theta: Row,
    g: Row,
    v: Row,
    rate: Number,
    momentum: Number = 0,
    nesterov: bool = False,
    weight_decay: Number = 0,
) -> tuple[list[Number], list[Number]]:
    """(theta, v) after one step of gradient descent with momentum.

    g ← g + weight_decay theta;  v ← momentum v + g;  theta ← theta - rate v, or rate (g + momentum v) for Nesterov's.
    Source: Jiang, section 1 (named); the formula is ours (Polyak, 1964; Sutskever and others, 2013).
    """
    new_theta, new_v = [], []
    for j in range(len(theta)):
        gradient = g[j] + weight_decay * theta[j]
        velocity = momentum * v[j] + gradient
        direction = gradient + momentum * velocity if nesterov else velocity
        new_theta.append(theta[j] - rate * direction)
        new_v.append(velocity)
    return new_theta, new_v


def adam_step(
    theta: Row,
    g: Row,
    m: Row,
    v: Row,
    t: int,
    rate: Number,
    beta1: Number,
    beta2: Number,
    epsilon: Number,
    weight_decay: Number = 0,
) -> tuple[list[Number], list[Number], list[Number]]:
    """(theta, m, v) after step t = 1, 2, … of Adam.

    g ← g + weight_decay theta;  m ← beta1 m + (1 - beta1) g;  v ← beta2 v + (1 - beta2) g²;
    theta ← theta - rate (m / (1 - beta1^t)) / (√(v / (1 - beta2^t)) + epsilon).
    Source: ours (Kingma and Ba, 2014, algorithm 1).
    """
    new_theta, new_m, new_v = [], [], []
    for j in range(len(theta)):
        gradient = g[j] + weight_decay * theta[j]
        first = beta1 * m[j] + (1 - beta1) * gradient
        second = beta2 * v[j] + (1 - beta2) * gradient**2
        first_corrected = first / (1 - beta1**t)
        second_corrected = second / (1 - beta2**t)
        new_theta.append(theta[j] - rate * first_corrected / (math.sqrt(second_corrected) + epsilon))
        new_m.append(first)
        new_v.append(second)
    return new_theta, new_m, new_v


def adamw_step(
    theta: Row,
    g: Row,
    m: Row,
    v: Row,
    t: int,
    rate: Number,
    beta1: Number,
    beta2: Number,
    epsilon: Number,
    weight_decay: Number = 0,
) -> tuple[list[Number], list[Number], list[Number]]:
    """(theta, m, v) after step t = 1, 2, … of Adam with decoupled weight decay: the decay is not part of the gradient.

    m and v as in `adam_step` without decay;
    theta ← theta - rate weight_decay theta - rate (m / (1 - beta1^t)) / (√(v / (1 - beta2^t)) + epsilon).
    Source: ours (Loshchilov and Hutter, 2017, algorithm 2, the decay scaled by the rate).
    """
    stepped, new_m, new_v = adam_step(theta, g, m, v, t, rate, beta1, beta2, epsilon)
    return [stepped[j] - rate * weight_decay * theta[j] for j in range(len(theta))], new_m, new_v


def rmsprop_step(
    theta: Row,
    g: Row,
    s: Row,
    v: Row,
    rate: Number,
    rho: Number,
    momentum: Number,
    epsilon: Number,
    weight_decay: Number = 0,
) -> tuple[list[Number], list[Number], list[Number]]:
    """(theta, s, v) after one step of RMSprop with momentum.

    g ← g + weight_decay theta;  s ← rho s + (1 - rho) g²;
    v ← momentum v + g / (√s + epsilon);  theta ← theta - rate v.
    Source: ours (Tieleman and Hinton, 2012).
    """
    new_theta, new_s, new_v = [], [], []
    for j in range(len(theta)):
        gradient = g[j] + weight_decay * theta[j]
        square = rho * s[j] + (1 - rho) * gradient**2
        velocity = momentum * v[j] + gradient / (math.sqrt(square) + epsilon)
        new_theta.append(theta[j] - rate * velocity)
        new_s.append(square)
        new_v.append(velocity)
    return new_theta, new_s, new_v


def clip_by_value(g: Row, value: Number) -> list[Number]:
    """Each entry moved into [-value, value]. Source: ours."""
    return [max(-value, min(value, entry)) for entry in g]


def clip_by_norm(g: Row, norm: Number) -> list[Number]:
    """g min(1, norm / ‖g‖), with the Euclidean norm of the whole gradient. Source: ours (Pascanu and others, 2012)."""
    length = math.sqrt(sum(entry * entry for entry in g))
    if length <= norm:
        return list(g)
    return [entry * norm / length for entry in g]


# ------------------------------------------------------------------------------------------------ initializers


def glorot_uniform_limit(fan_in: int, fan_out: int) -> float:
    """√(6 / (fan_in + fan_out)): weights uniform on [-limit, limit]. Source: ours (Glorot and Bengio, 2010)."""
    return math.sqrt(6 / (fan_in + fan_out))


def glorot_normal_deviation(fan_in: int, fan_out: int) -> float:
    """√(2 / (fan_in + fan_out)): the standard deviation of normal weights. Source: ours (Glorot and Bengio, 2010)."""
    return math.sqrt(2 / (fan_in + fan_out))


def he_uniform_limit(fan_in: int) -> float:
    """√(6 / fan_in). Source: ours (He, Zhang, Ren and Sun, 2015)."""
    return math.sqrt(6 / fan_in)


def he_normal_deviation(fan_in: int) -> float:
    """√(2 / fan_in). Source: ours (He, Zhang, Ren and Sun, 2015)."""
    return math.sqrt(2 / fan_in)


def lecun_uniform_limit(fan_in: int) -> float:
    """√(3 / fan_in). Source: ours (LeCun, Bottou, Orr and Müller, 1998)."""
    return math.sqrt(3 / fan_in)


def lecun_normal_deviation(fan_in: int) -> float:
    """√(1 / fan_in). Source: ours (LeCun, Bottou, Orr and Müller, 1998)."""
    return math.sqrt(1 / fan_in)


# ----------------------------------------------------------------------------------------------------- metrics


def argmax(row: Row) -> int:
    """The index of the largest entry, the first of equals. Source: ours."""
    best = 0
    for j in range(len(row)):
        if row[j] > row[best]:
            best = j
    return best


def accuracy(labels: Sequence[int], predicted: Sequence[int], w: Row | None = None) -> Number:
    """Σ_i w_i [predicted_i = label_i] / Σ_i w_i. Source: ours."""
    return weighted_mean([1 if predicted[i] == labels[i] else 0 for i in range(len(labels))], w)


def top_k(P: Rows, labels: Sequence[int], k: int, w: Row | None = None) -> Number:
    """Σ_i w_i [fewer than k classes come before the label of (i)] / Σ_i w_i.

    A class comes before another if its P is larger, or equal and its index smaller. Source: ours.
    """
    hits = []
    for i in range(len(P)):
        label, before = labels[i], 0
        for j in range(len(P[i])):
            if P[i][j] > P[i][label] or (P[i][j] == P[i][label] and j < label):
                before = before + 1
        hits.append(1 if before < k else 0)
    return weighted_mean(hits, w)


def confusion(
    labels: Sequence[int], predicted: Sequence[int], classes: int, w: Row | None = None
) -> list[list[Number]]:
    """C_{a,b} = Σ_i w_i [label_i = a and predicted_i = b]. Source: ours."""
    C: list[list[Number]] = [[0 for _ in range(classes)] for _ in range(classes)]
    for i in range(len(labels)):
        C[labels[i]][predicted[i]] = C[labels[i]][predicted[i]] + (1 if w is None else w[i])
    return C


def precision(labels: Sequence[int], predicted: Sequence[int], classes: int, w: Row | None = None) -> list[Number]:
    """For each class a: C_{a,a} / Σ_b C_{b,a}, the part of those called a that are a; 0/0 is 0. Source: ours."""
    C = confusion(labels, predicted, classes, w)
    called = [sum(C[b][a] for b in range(classes)) for a in range(classes)]
    return [C[a][a] / called[a] if called[a] != 0 else 0 for a in range(classes)]


def recall(labels: Sequence[int], predicted: Sequence[int], classes: int, w: Row | None = None) -> list[Number]:
    """For each class a: C_{a,a} / Σ_b C_{a,b}, the part of the a that are called a; 0/0 is 0. Source: ours."""
    C = confusion(labels, predicted, classes, w)
    true = [sum(C[a][b] for b in range(classes)) for a in range(classes)]
    return [C[a][a] / true[a] if true[a] != 0 else 0 for a in range(classes)]


def f1(labels: Sequence[int], predicted: Sequence[int], classes: int, w: Row | None = None) -> list[Number]:
    """For each class a: 2 C_{a,a} / (Σ_b C_{b,a} + Σ_b C_{a,b}), the harmonic mean of precision and recall; 0/0 is 0.

    Source: ours.
    """
    C = confusion(labels, predicted, classes, w)
    both = [sum(C[b][a] + C[a][b] for b in range(classes)) for a in range(classes)]
    return [2 * C[a][a] / both[a] if both[a] != 0 else 0 for a in range(classes)]


def mae(P: Rows, Y: Rows, w: Row | None = None) -> Number:
    """The mean absolute error over instances (weighted) and outputs. Source: ours."""
    return mean_absolute_error(P, Y, w)


def rmse(P: Rows, Y: Rows, w: Row | None = None) -> float:
    """The square root of the mean squared error over instances (weighted) and outputs. Source: ours."""
    return math.sqrt(mean_squared_error(P, Y, w))


def r2(P: Rows, Y: Rows, w: Row | None = None) -> Number:
    """The mean over outputs j of 1 - Σ_i w_i (Y_{i,j} - P_{i,j})² / Σ_i w_i (Y_{i,j} - μ_j)².

    μ_j is the weighted mean of Y_{:,j}. An output that does not vary counts 1 where P equals it everywhere, and else 0.
    Source: ours.
    """
    scores = []
    for j in range(len(Y[0])):
        mean = weighted_mean([Y[i][j] for i in range(len(Y))], w)
        unexplained, variation = 0, 0
        for i in range(len(Y)):
            weight = 1 if w is None else w[i]
            unexplained = unexplained + weight * (Y[i][j] - P[i][j]) ** 2
            variation = variation + weight * (Y[i][j] - mean) ** 2
        if variation != 0:
            scores.append(1 - unexplained / variation)
        else:
            scores.append(1 if unexplained == 0 else 0)
    return sum(scores) / len(scores)
