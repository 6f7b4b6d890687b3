// A block for each id.
extern "C" __global__ void embedding_forward(const Word* ids, const T* table, T* y, Size d) {
  const T* row = table + ids[blockIdx.x] * d;
  EACH_OF_ROW(i, d) write(y + blockIdx.x * d, i, d, read(row, i, d));
}

// A block for each row of the table that is used: ids[row], whose gradients are at places[starts[row]..starts[row + 1]].
// The other rows of `of_table` are zero already.
extern "C" __global__ void embedding_backward(const Word* ids, const Word* starts, const Word* places, const T* dy,
                                              T* of_table, Size d) {
  Word from = starts[blockIdx.x], to = starts[blockIdx.x + 1];
  EACH_OF_ROW(i, d) {
    Pack sum = {};
    for (Word at = from; at < to; at++) {
      Pack g = read(dy + places[at] * d, i, d);
      for (int j = 0; j < WIDTH; j++) sum.at[j] += g.at[j];
    }
    write(of_table + ids[blockIdx.x] * d, i, d, sum);
  }
}
