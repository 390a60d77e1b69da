#include "worker/trainer/checkpoint_taker.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "protocol/checkpoint.h"
#include "worker/checkpoint/model_config.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/checkpoint/state.h"

namespace ballast {
namespace {

// Room for `bytes`, without giving any back.
void SetBody(FileImage& file, size_t bytes) {
  if (file.body.size() < bytes) file.body.resize(bytes);
  file.body_bytes = bytes;
}

FileImage TextFile(const std::string& name, std::string text) {
  FileImage file;
  file.name = name;
  file.head = std::move(text);
  return file;
}

}  // namespace

CheckpointTaker::CheckpointTaker(std::shared_ptr<const JobConfig> job, Rank self,
                                 CheckpointWriter::Options writer, const ParameterLayout& layout,
                                 const Backend& backend, Optimizer& optimizer, StepCoordination& coordination)
    : job_(std::move(job)),
      self_(self),
      layout_(layout),
      backend_(backend),
      optimizer_(optimizer),
      coordination_(coordination),
      schedule_(/*enabled=*/true, job_->checkpoint.every_steps),
      writer_(std::move(writer), [this](Step step, absl::StatusOr<WrittenCheckpoint> written) {
        OnDone(step, std::move(written));
      }) {}

bool CheckpointTaker::Choose(Step step, std::span<const StepHeader> table, bool last, bool tell) {
  const bool any_busy =
      std::any_of(table.begin(), table.end(), [](const StepHeader& row) { return row.checkpoint_busy; });
  const CheckpointChoice choice = schedule_.Choose({.step = step, .busy = any_busy, .last = last}, request_);
  if (choice == CheckpointChoice::kSkip && tell) {
    coordination_.OnCheckpointFailed(step, /*skipped=*/true, "the checkpoint before is still being written");
  }
  if (choice != CheckpointChoice::kTake) return false;
  if (last) writer_.WaitIdle();
  return true;
}

void CheckpointTaker::CopyStates(Step step, const Plan& plan, const Plan& next) {
  const std::vector<CheckpointPart> parts = DivideCheckpoint(layout_, plan.body, next.body);
  const CheckpointPart& mine = parts[self_.index()];
  CheckpointImage& image = writer_.image();
  image.directory = absl::StrCat(CheckpointFolder(job_->checkpoint.path, job_->name), "/",
                                 CheckpointName(step, next.stamp.generation));
  image.written = {.step = step, .plan = next.stamp.version, .request = request_, .files = {}};
  image.texts.clear();
  if (self_ == Rank(0)) AddTexts(step, next, parts);

  const DType master = backend_.master_bytes() == sizeof(double) ? DType::kFloat64 : DType::kFloat32;
  std::vector<TensorEntry> tensors;
  size_t bytes = 0;
  for (BlockId id : mine.blocks) {
    const Block& block = layout_.block(id);
    for (int part = 0; part < 3; ++part)
      tensors.push_back({StateName(layout_.parameter_of(id), block.offset, part), master, {block.elements}});
    bytes += optimizer_.StateBytes(id);
  }
  image.optimizer.name = mine.optimizer_file;
  image.optimizer.head = SafetensorsHead(tensors, {});
  SetBody(image.optimizer, bytes);
  char* to = image.optimizer.body.data();
  for (BlockId id : mine.blocks) {
    optimizer_.CopyState(id, to);
    to += optimizer_.StateBytes(id);
  }

  tensors.clear();
  bytes = 0;
  for (int p : mine.parameters) {
    const Parameter& parameter = layout_.parameters()[static_cast<size_t>(p)];
    tensors.push_back({parameter.name, backend_.dtype(), parameter.shape});
    bytes += static_cast<size_t>(parameter.elements) * backend_.element_bytes();
  }
  image.model.name = mine.model_file;
  // What programs that read model files ask for.
  image.model.head = SafetensorsHead(tensors, {{"format", "pt"}});
  SetBody(image.model, bytes);
  parameters_ = mine.parameters;
}

void CheckpointTaker::CopyModel() {
  char* to = writer_.image().model.body.data();
  for (int p : parameters_) {
    optimizer_.CopyWeights(p, to);
    to +=
        static_cast<size_t>(layout_.parameters()[static_cast<size_t>(p)].elements) * backend_.element_bytes();
  }
}

void CheckpointTaker::AddTexts(Step step, const Plan& next, const std::vector<CheckpointPart>& parts) {
  CheckpointState state;
  state.job = job_->name;
  state.step = step;
  state.generation = next.stamp.generation;
  state.seed = job_->training.seed;
  state.sequences_trained = step.value() * job_->training.global_batch_sequences;
  state.model = job_->model;
  state.ranks = static_cast<int>(parts.size());
  state.slots_per_rank = job_->placement.slots_per_rank;
  state.block_elements = job_->placement.block_elements;
  state.plan_version = next.stamp.version;
  state.plan = next.body;
  std::vector<FileImage>& texts = writer_.image().texts;
  texts.push_back(TextFile(kStateFile, StateText(state)));
  texts.push_back(TextFile("config.json", ModelConfigText(*job_, backend_.dtype())));
  texts.push_back(
      TextFile("model.safetensors.index.json", ModelIndexText(layout_, parts, backend_.element_bytes())));
}

void CheckpointTaker::OnDone(Step step, absl::StatusOr<WrittenCheckpoint> written) {
  if (written.ok()) return coordination_.OnCheckpointWritten(self_, *std::move(written));
  if (absl::IsAborted(written.status())) return;  // the generation is over
  const std::string cause =
      absl::StrCat("rank ", self_.value(), ": ", std::string(written.status().message()));
  Log(LogLevel::kError, "checkpoint not written",
      {{"job", job_->name.value()}, {"rank", self_.value()}, {"step", step.value()}, {"cause", cause}});
  coordination_.OnCheckpointFailed(step, /*skipped=*/false, cause);
}

size_t CheckpointTaker::BufferBytes(const ParameterLayout& layout, const PlanBody& plan, const PlanBody& next,
                                    Rank self, size_t element_bytes, size_t master_bytes) {
  const CheckpointPart part = DivideCheckpoint(layout, plan, next)[self.index()];
  size_t bytes = 0;
  for (BlockId block : part.blocks)
    bytes += static_cast<size_t>(layout.block(block).elements) * 3 * master_bytes;
  for (int p : part.parameters)
    bytes += static_cast<size_t>(layout.parameters()[static_cast<size_t>(p)].elements) * element_bytes;
  return bytes;
}

}  // namespace ballast
