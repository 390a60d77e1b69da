#include "worker/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "worker/checkpoint/schedule.h"

namespace ballast {
namespace {

std::span<const unsigned char> Bytes(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

// A file with the header `json`, and `data` bytes.
std::string FileOf(const std::string& json, size_t data) {
  std::string file(8, '\0');
  const uint64_t length = json.size();
  std::memcpy(file.data(), &length, 8);
  return file + json + std::string(data, 'x');
}

TEST(Safetensors, HeadsAreReadBack) {
  std::string file = SafetensorsHead(
      {{"a", DType::kFloat32, {2, 3}}, {"b", DType::kBFloat16, {}}, {"c", DType::kFloat64, {0}}},
      {{"k", "v"}});
  EXPECT_EQ(file.size() % 8, 0u);
  const size_t head = file.size();
  file += std::string(24 + 2, 'x');
  const auto tensors = ReadSafetensors(Bytes(file), "f");
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 3u);
  EXPECT_EQ(tensors->at("a").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors->at("a").bytes, 24u);
  EXPECT_EQ(tensors->at("b").elements, 1);
  EXPECT_EQ(tensors->at("b").dtype, "BF16");
  EXPECT_EQ(tensors->at("b").data, Bytes(file).data() + head + 24);
  EXPECT_EQ(tensors->at("c").elements, 0);
}

TEST(Safetensors, WhatDoesNotFitIsRefused) {
  const auto error = [](const std::string& json, size_t data = 8) {
    return std::string(ReadSafetensors(Bytes(FileOf(json, data)), "f").status().message());
  };
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})"), "");
  EXPECT_EQ(ReadSafetensors(Bytes("short"), "f").status().message(), "f: found 5 bytes, allowed 8 and more");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 12]}})"),
            "f: a.data_offsets: found [0,12], allowed two within the 8 bytes of data");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}})"),
            "f: a.data_offsets: found [-8,0], allowed two within the 8 bytes of data");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}})"),
            "f: a.data_offsets: found [0,8,8], allowed two within the 8 bytes of data");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}})"),
            "f: a.shape: found what no tensor has");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296, 2], "data_offsets": [0, 8]}})"),
            "f: a.shape: found what no tensor has");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}})"),
            "f: a: found 8 bytes for 1 values of F32");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [2]}})"), "f: data_offsets: found nothing");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                      "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})"),
            "f: tensors overlap or leave a gap at byte 8 of the data");
  EXPECT_EQ(error(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})"),
            "f: found 8 bytes of data, the tensors have 4");
  EXPECT_EQ(error(R"({"a": 1})"), "f: dtype: found nothing");
  EXPECT_EQ(error(R"([])"), "f: found array, allowed an object");
  EXPECT_EQ(error(std::string(100000, '[')), "f: found 100000 bytes that are no JSON");
  const std::string cut = FileOf("{}", 0).substr(0, 9);
  EXPECT_EQ(ReadSafetensors(Bytes(cut), "f").status().message(),
            "f: found a header of 2 bytes, allowed 1 (the file, and 100 MiB)");
}

TEST(CheckpointSchedule, IsAFunctionOfStepsAndTables) {
  CheckpointSchedule schedule(true, 10);
  RequestId request;
  const auto choose = [&](int64_t step, bool busy = false, bool last = false) {
    return schedule.Choose({.step = Step(step), .busy = busy, .last = last}, request);
  };
  EXPECT_EQ(choose(9), CheckpointChoice::kNone);
  EXPECT_EQ(choose(10), CheckpointChoice::kTake);
  EXPECT_EQ(request, RequestId());
  EXPECT_EQ(choose(20, /*busy=*/true), CheckpointChoice::kSkip);
  schedule.Request(RequestId(3), Step(22));
  EXPECT_EQ(choose(21), CheckpointChoice::kNone);
  EXPECT_EQ(choose(22, /*busy=*/true), CheckpointChoice::kNone) << "waits";
  EXPECT_EQ(choose(23), CheckpointChoice::kTake);
  EXPECT_EQ(request, RequestId(3));
  EXPECT_EQ(choose(24), CheckpointChoice::kNone) << "once";
  EXPECT_EQ(choose(25, /*busy=*/true, /*last=*/true), CheckpointChoice::kTake);
  CheckpointSchedule on_request(true, 0);
  EXPECT_EQ(on_request.Choose({.step = Step(100)}, request), CheckpointChoice::kNone);
  CheckpointSchedule never(false, 0);
  EXPECT_EQ(never.Choose({.step = Step(100), .last = true}, request), CheckpointChoice::kNone);
}

}  // namespace
}  // namespace ballast
