#include "worker/optimizer/step_table.h"

#include <cmath>
#include <cstring>

#include "base/check.h"

namespace ballast {
namespace {

constexpr size_t kHeaderBytes = kHeaderWords * sizeof(uint64_t);

// Reads and writes plain values one after the other; ranks of one job run on machines of one byte order.
template <class T>
void Put(char*& out, const T& value) {
  std::memcpy(out, &value, sizeof(T));
  out += sizeof(T);
}
template <class T>
T Take(const char*& in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  in += sizeof(T);
  return value;
}

}  // namespace

size_t RowBytes(const StepTableShape& shape, Rank rank) {
  return kHeaderBytes + 3 * sizeof(double) * shape.sequences[rank.index()] +
         sizeof(double) * shape.owned[rank.index()].size();
}

void EncodeRow(const StepRow& row, char* out) {
  for (uint64_t word : EncodeHeader(row.header)) Put(out, word);
  for (const SequenceLoss& loss : row.losses) {
    Put(out, loss.cross_entropy);
    Put(out, loss.load_balance);
    Put(out, loss.z_loss);
  }
  for (double squares : row.block_squares) Put(out, squares);
}

StepTable DecodeTable(const StepTableShape& shape, const char* rows) {
  StepTable table;
  table.block_squares.assign(shape.blocks, 0);
  for (size_t rank = 0; rank < shape.sequences.size(); ++rank) {
    std::array<uint64_t, kHeaderWords> words;
    for (uint64_t& word : words) word = Take<uint64_t>(rows);
    table.headers.push_back(DecodeHeader(words));
    for (int64_t i = 0; i < shape.sequences[rank]; ++i) {
      SequenceLoss loss;
      loss.cross_entropy = Take<double>(rows);
      loss.load_balance = Take<double>(rows);
      loss.z_loss = Take<double>(rows);
      table.losses.push_back(loss);
    }
    for (BlockId block : shape.owned[rank]) table.block_squares[block.index()] = Take<double>(rows);
  }
  return table;
}

double GlobalNorm(const StepTable& table) {
  double sum = 0;
  for (double squares : table.block_squares) sum += squares;
  return std::sqrt(sum);
}

double ClipFactor(double norm, double clip_norm) {
  if (clip_norm <= 0 || norm <= clip_norm) return 1;
  return clip_norm / norm;
}

SequenceLoss SumLosses(const std::vector<SequenceLoss>& losses) {
  SequenceLoss sum;
  for (const SequenceLoss& loss : losses) {
    sum.cross_entropy += loss.cross_entropy;
    sum.load_balance += loss.load_balance;
    sum.z_loss += loss.z_loss;
  }
  return sum;
}

}  // namespace ballast
