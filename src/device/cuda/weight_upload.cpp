#include "device/cuda/weight_upload.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/cuda_weight.h"
#include "device/cuda/matmul/pack_weight.h"
#include "device/cuda/staging.h"
#include "device/cuda/weight_packing.h"

namespace tandem::cuda {
namespace {

// Packed rows that travel in one copy: long enough for the bus, short beside a weight.
constexpr std::int64_t kPieceBytes = std::int64_t{4} << 20;

// A stream of its own that lives as long as the upload.
class UploadStream {
 public:
  ~UploadStream() {
    if (stream_ == nullptr) return;
    (void)cudaStreamSynchronize(stream_);
    (void)cudaStreamDestroy(stream_);
  }
  Status open(int gpu) {
    TANDEM_CUDA_TRY(cudaSetDevice(gpu), "cannot use the GPU");
    return status_of(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                     "cannot make a stream");
  }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Device memory for one piece in the file's blocks; the stream keeps one piece from the next.
class FileRows {
 public:
  ~FileRows() { (void)cudaFree(memory_); }
  FileRows() = default;
  FileRows(const FileRows&) = delete;
  FileRows& operator=(const FileRows&) = delete;
  // The first piece is the longest.
  Status resize(std::int64_t bytes) {
    if (bytes <= bytes_) return {};
    TANDEM_CHECK(memory_ == nullptr, "pieces do not grow");
    TANDEM_CUDA_TRY(cudaMalloc(&memory_, static_cast<std::size_t>(bytes)),
                    "no memory to pack weights in");
    bytes_ = bytes;
    return {};
  }
  void* data() const { return memory_; }

 private:
  void* memory_ = nullptr;
  std::int64_t bytes_ = 0;
};

class Upload {
 public:
  Upload(const WeightSource& source, const WeightPacking& packing, std::byte* device)
      : source_(source), packing_(packing), device_(device) {
    const std::int64_t group_bytes = packing.group_rows * packing.row_bytes;
    piece_rows_ = std::max<std::int64_t>(1, kPieceBytes / group_bytes) * packing.group_rows;
  }

  Status run(int gpu) {
    TANDEM_TRY_STATUS(stream_.open(gpu));
    for (std::int64_t expert = 0; expert < source_.num_experts; ++expert) {
      for (std::int64_t begin = 0; begin < source_.rows; begin += piece_rows_) {
        const std::int64_t end = std::min(begin + piece_rows_, source_.rows);
        TANDEM_TRY_STATUS(send(expert, begin, end));
        if (source_.rows_done) source_.rows_done(expert, begin, end);
      }
    }
    return status_of(cudaStreamSynchronize(stream_.get()), "cannot copy weights to the device");
  }

 private:
  // Rows [begin, end) of an expert as they are in the file, packed on the device.
  Status send_file_rows(std::int64_t expert, std::int64_t begin, std::int64_t end) {
    const std::int64_t bytes = (end - begin) * *bytes_of(source_.type, source_.columns);
    TANDEM_TRY(void* staged, ring_.take(stream_.get(), bytes));
    auto* to = static_cast<std::byte*>(staged);
    for (std::int64_t row = begin; row < end; ++row) {
      const auto from = source_.row_bytes(expert, row);
      to = std::copy(from.begin(), from.end(), to);
    }
    TANDEM_TRY_STATUS(file_rows_.resize(bytes));
    TANDEM_CUDA_TRY(cudaMemcpyAsync(file_rows_.data(), staged, static_cast<std::size_t>(bytes),
                                    cudaMemcpyHostToDevice, stream_.get()),
                    "cannot copy weights to the device");
    std::byte* packed = device_ + expert * packing_.expert_bytes + begin * packing_.row_bytes;
    return status_of(pack_weight(stream_.get(), source_.type, end - begin, source_.columns,
                                 static_cast<const std::uint8_t*>(file_rows_.data()),
                                 reinterpret_cast<std::uint8_t*>(packed)),
                     "cannot pack weights");
  }

  // Packs rows [begin, end) of an expert and enqueues their copy.
  Status send(std::int64_t expert, std::int64_t begin, std::int64_t end) {
    if (packing_.layout == WeightLayout::kFragments) return send_file_rows(expert, begin, end);
    const std::int64_t group = packing_.group_rows;
    const std::int64_t groups = (end - begin + group - 1) / group;
    const std::int64_t group_bytes = group * packing_.row_bytes;
    TANDEM_TRY(void* staged, ring_.take(stream_.get(), groups * group_bytes));
    auto* packed = static_cast<std::byte*>(staged);
    for (std::int64_t i = 0; i < groups; ++i) {
      const std::int64_t first = begin + i * group;
      gather(expert, first, std::min(first + group, end));
      pack_rows(packing_, source_.type, std::min(group, end - first), rows_,
                {packed + i * group_bytes, static_cast<std::size_t>(group_bytes)});
    }
    // begin is a whole number of groups.
    std::byte* to = device_ + expert * packing_.expert_bytes + begin * packing_.row_bytes;
    const std::int64_t bytes =
        std::min(groups * group_bytes, packing_.expert_bytes - begin * packing_.row_bytes);
    return status_of(cudaMemcpyAsync(to, staged, static_cast<std::size_t>(bytes),
                                     cudaMemcpyHostToDevice, stream_.get()),
                     "cannot copy weights to the device");
  }

  void gather(std::int64_t expert, std::int64_t begin, std::int64_t end) {
    rows_.clear();
    for (std::int64_t row = begin; row < end; ++row) {
      const auto bytes = source_.row_bytes(expert, row);
      rows_.insert(rows_.end(), bytes.begin(), bytes.end());
    }
  }

  const WeightSource& source_;
  const WeightPacking& packing_;
  std::byte* device_;
  std::int64_t piece_rows_ = 1;
  FileRows file_rows_;
  UploadStream stream_;  // waits before the memory goes
  UploadRing ring_;
  std::vector<std::byte> rows_;  // of one group
};

}  // namespace

Result<std::unique_ptr<Weight>> upload_weight(const WeightSource& source, Arena& arena, int gpu,
                                              Arithmetic arithmetic) {
  if (source.type == ElementType::kI32) {
    return unsupported({}, "no matrix products with this type", {},
                       std::string(traits_of(source.type).name));
  }
  if (!bytes_of(source.type, source.columns)) {
    return invalid_argument("a row is no whole number of blocks", {},
                            std::to_string(source.columns));
  }
  const WeightPacking packing = packing_of(source.type, source.rows, source.columns, arithmetic);
  TANDEM_TRY(auto memory, arena.allocate(packing.expert_bytes * source.num_experts));
  WeightView view;
  view.data = static_cast<std::byte*>(memory->data());
  view.type = source.type;
  view.layout = packing.layout;
  view.num_experts = source.num_experts;
  view.rows = source.rows;
  view.columns = source.columns;
  view.row_bytes = packing.row_bytes;
  view.expert_bytes = packing.expert_bytes;
  if (source.rows > 0 && source.columns > 0) {
    Upload upload(source, packing, static_cast<std::byte*>(memory->data()));
    TANDEM_TRY_STATUS(upload.run(gpu));
  }
  return std::unique_ptr<Weight>(std::make_unique<CudaWeight>(view, std::move(memory)));
}

}  // namespace tandem::cuda
