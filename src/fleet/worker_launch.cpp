#include "fleet/worker_launch.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fleet/http_fields.h"
#include "machine/device_list.h"
#include "machine/text_scan.h"
#include "tensor/element_type.h"

namespace tandem {
namespace {

Error io_error(const char* what, const std::string& where) {
  return {ErrorCode::kIo, what, where, {}, std::strerror(errno)};
}

// Indices as NVML and nvidia-smi count them, which is by PCI address.
std::map<std::string, std::string> gpu_environment(const std::vector<std::string>& devices) {
  std::string indices;
  for (const std::string& device : devices) {
    const std::string name = whole_device_id(device);
    if (name.starts_with("cuda:")) indices += (indices.empty() ? "" : ",") + name.substr(5);
  }
  return {{"CUDA_DEVICE_ORDER", "PCI_BUS_ID"}, {"CUDA_VISIBLE_DEVICES", indices}};
}

bool has_gpu(const std::vector<std::string>& devices) {
  for (const std::string& device : devices) {
    if (device.starts_with("cuda")) return true;
  }
  return false;
}

Result<std::string> write_plan(const Plan& plan, RuntimeFolder& folder) {
  const std::string path = folder.next_path("plan.json");
  std::ofstream file(path);
  file << to_json(plan).dump();
  file.close();
  if (!file) return io_error("the plan cannot be written", path);
  return path;
}

Result<WorkerSettings::Start> start_of_tandem(const FleetConfig& config, const ModelConfig& model,
                                              const PlacedReplica& replica,
                                              const std::string& program, RuntimeFolder& folder) {
  WorkerSettings::Start start;
  start.address.unix_path = folder.next_path("sock");
  std::vector<std::string>& command = start.launch.command;
  command = {program,      "serve",        "--alias", model.name, "--host", start.address.unix_path,
             "--no-webui", "--access-log", "none"};
  if (!model.builtin) command.insert(command.end(), {"-m", model.file});
  // The fleet drains before it ends a worker; what is left then has this long.
  command.insert(command.end(),
                 {"--drain-timeout", std::to_string(std::max<std::int64_t>(
                                         0, config.supervision.kill_delay_ms / 1000 - 1))});
  command.insert(command.end(), {"-np", std::to_string(model.placement.plan.max_sequences)});
  if (replica.plan) {
    TANDEM_TRY(const std::string plan, write_plan(*replica.plan, folder));
    command.insert(command.end(), {"--plan", plan});
  }
  command.insert(command.end(), model.arguments.begin(), model.arguments.end());
  // Devices are in the plan by their numbers on this machine; a worker without any sees none.
  start.launch.environment = {{"CUDA_DEVICE_ORDER", "PCI_BUS_ID"}};
  if (!has_gpu(replica.devices)) start.launch.environment["CUDA_VISIBLE_DEVICES"] = "";
  return start;
}

std::string filled_in(std::string text,
                      const std::vector<std::pair<std::string, std::string>>& values) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    bool is_found = false;
    for (const auto& [name, value] : values) {
      if (text.compare(at, name.size(), name) != 0) continue;
      result += value;
      at += name.size();
      is_found = true;
      break;
    }
    if (!is_found) result += text[at++];
  }
  return result;
}

Result<WorkerSettings::Start> start_of_external(const WorkerConfig& worker,
                                                const ModelConfig& model,
                                                const PlacedReplica& replica) {
  TANDEM_TRY(const std::uint16_t port, free_port());
  const PlanRequest& plan = model.placement.plan;
  const std::int64_t context = plan.context_tokens.value_or(kDefaultContextTokens);
  const std::vector<std::pair<std::string, std::string>> values = {
      {"{model}", model.file},
      {"{name}", model.name},
      {"{host}", "127.0.0.1"},
      {"{port}", std::to_string(port)},
      {"{context}", std::to_string(context)},
      {"{parallel}", std::to_string(plan.max_sequences)},
      {"{kv_type}", lower_case(traits_of(plan.kv_type).name)},
      {"{devices}", fmt::format("{}", fmt::join(replica.devices, ","))}};
  WorkerSettings::Start start;
  start.address.host = "127.0.0.1";
  start.address.port = port;
  for (const std::string& word : worker.command) {
    start.launch.command.push_back(filled_in(word, values));
  }
  for (const std::string& word : model.arguments) {
    start.launch.command.push_back(filled_in(word, values));
  }
  start.launch.environment = gpu_environment(replica.devices);
  for (const auto& [name, value] : worker.environment) {
    start.launch.environment[name] = filled_in(value, values);
  }
  return start;
}

}  // namespace

Result<std::unique_ptr<RuntimeFolder>> RuntimeFolder::create() {
  const char* base = std::getenv("XDG_RUNTIME_DIR");
  for (const std::string parent : {base != nullptr ? base : "", "/tmp"}) {
    if (parent.empty()) continue;
    std::string path = parent + "/tandem-fleet-XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) {
      return std::unique_ptr<RuntimeFolder>(new RuntimeFolder(path));
    }
  }
  return io_error("no folder for the workers' sockets", "/tmp");
}

RuntimeFolder::~RuntimeFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string RuntimeFolder::next_path(const std::string& ending) {
  return fmt::format("{}/{}.{}", path_, next_++, ending);
}

Result<std::uint16_t> free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool is_bound = socket >= 0 &&
                        ::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                        ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  const Error error = io_error("no free port", "127.0.0.1");
  if (socket >= 0) ::close(socket);
  if (!is_bound) return error;
  return ntohs(address.sin_port);
}

Result<WorkerSettings::Start> next_start(const FleetConfig& config, const ModelConfig& model,
                                         const PlacedReplica& replica, const std::string& program,
                                         RuntimeFolder& folder) {
  const WorkerConfig* worker = config.find_worker(model.worker);
  if (!model.worker.empty() && worker == nullptr) {
    return not_found("no worker of this name", model.worker);
  }
  TANDEM_TRY(WorkerSettings::Start start,
             worker == nullptr ? start_of_tandem(config, model, replica, program, folder)
                               : start_of_external(*worker, model, replica));
  start.launch.cores = replica.cores;
  return start;
}

}  // namespace tandem
