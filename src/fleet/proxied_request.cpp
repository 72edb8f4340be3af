#include "fleet/proxied_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/clock.h"
#include "fleet/http_fields.h"

namespace tandem {
namespace {

// Answers up to this are sent with their length, and can be tried elsewhere until they are whole.
constexpr std::size_t kWholeBytes = 1 << 20;
// An event that is longer than this goes out in pieces.
constexpr std::size_t kMaxEventBytes = 1 << 20;
// What the client may be told for a request that it gave up itself; as nginx has it.
constexpr int kClientGone = 499;

// Behind the last whole event of `text`; 0: there is none.
std::size_t events_end(std::string_view text) {
  const std::size_t lf = text.rfind("\n\n");
  const std::size_t crlf = text.rfind("\r\n\r\n");
  return std::max(lf == std::string_view::npos ? 0 : lf + 2,
                  crlf == std::string_view::npos ? 0 : crlf + 4);
}

std::int64_t count_events(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t at = text.find("data:"); at != std::string_view::npos;
       at = text.find("data:", at + 5)) {
    if (at == 0 || text[at - 1] == '\n') ++count;
  }
  return count;
}

std::string error_event(const ApiError& error, Dialect dialect) {
  const char* name = dialect == Dialect::kAnthropic ? "event: error\n" : "";
  return name + ("data: " + error_json(error, dialect)) + "\n\n";
}

ApiError error_of(const UpstreamFailure& failure, const std::string& backend) {
  using Kind = UpstreamFailure::Kind;
  const bool is_late = failure.kind == Kind::kTimeout || failure.kind == Kind::kDeadline;
  return {is_late ? 504 : 502,
          backend + ": " + failure.message,
          "server_error",
          {},
          is_late ? "backend_timeout" : "backend_failed",
          0};
}

bool is_temporary(int status) {
  return status == 429 || status == 502 || status == 503;
}

}  // namespace

void ProxiedRequest::start(std::shared_ptr<HttpExchange> exchange, RoutedRequest request,
                           Dispatcher& dispatcher, std::function<void(const Ending&)> on_ending) {
  std::shared_ptr<ProxiedRequest> self(new ProxiedRequest(std::move(exchange), std::move(request),
                                                          dispatcher, std::move(on_ending)));
  self->exchange_->on_gone([self] { self->on_gone(); });
  if (!self->is_over_) self->acquire();
}

ProxiedRequest::ProxiedRequest(std::shared_ptr<HttpExchange> exchange, RoutedRequest request,
                               Dispatcher& dispatcher, std::function<void(const Ending&)> on_ending)
    : exchange_(std::move(exchange)),
      request_(std::move(request)),
      dispatcher_(dispatcher),
      on_ending_(std::move(on_ending)) {
  ending_.model = request_.demand.model;
}

void ProxiedRequest::acquire() {
  began_us_ = monotonic_us();
  auto ticket = dispatcher_.acquire(
      request_.demand, [self = shared_from_this()](Grant grant) { self->take(std::move(grant)); });
  if (!is_over_ && !lease_) ticket_ = std::move(ticket);
}

void ProxiedRequest::take(Grant grant) {
  const std::unique_ptr<Ticket> used = std::move(ticket_);
  ending_.waited_us += monotonic_us() - began_us_;
  if (is_over_) return;
  if (const auto* error = std::get_if<ApiError>(&grant)) {
    // Where another try was refused, the last answer that came says more.
    if (head_.status > 0) return on_end();
    return fail(*error);
  }
  lease_ = std::move(std::get<std::unique_ptr<Lease>>(grant));
  ending_.backend = lease_->backend();
  send();
}

void ProxiedRequest::send() {
  head_ = {};
  pending_.clear();
  const TrafficLimits& limits = lease_->limits();
  UpstreamRequest upstream;
  upstream.method = exchange_->request().method;
  upstream.target = request_.target;
  upstream.headers = request_headers();
  upstream.body = request_body();
  upstream.connect_timeout_ms = lease_->connect_timeout_ms();
  upstream.first_byte_timeout_ms = limits.first_event_timeout_ms;
  upstream.stall_timeout_ms = limits.stall_timeout_ms;
  upstream.deadline_us = request_.demand.deadline_us;
  const auto self = shared_from_this();
  UpstreamEvents events;
  events.on_head = [self](UpstreamHead head) { self->on_head(std::move(head)); };
  events.on_body = [self](std::string piece) { self->on_body(std::move(piece)); };
  events.on_end = [self] { self->on_end(); };
  events.on_failure = [self](const UpstreamFailure& failure) { self->on_failure(failure); };
  call_ = lease_->client().call(std::move(upstream), std::move(events));
}

// The client's own fields, without what concerns its connection or its right to be here.
HttpHeaders ProxiedRequest::request_headers() const {
  constexpr std::array<std::string_view, 7> kOurs = {
      "authorization",   "x-api-key",          "cookie", "accept-encoding", "x-request-timeout",
      "x-forwarded-for", "x-stainless-timeout"};
  const HttpRequest& request = exchange_->request();
  HttpHeaders headers = request.headers;
  remove_hop_by_hop(headers);
  remove_unsafe(headers);
  std::erase_if(headers, [&](const auto& field) {
    return std::ranges::find(kOurs, field.first) != kOurs.end();
  });
  headers.emplace_back("X-Forwarded-For", request.peer);
  if (!lease_->api_key().empty()) {
    headers.emplace_back("Authorization", "Bearer " + lease_->api_key());
  }
  if (request_.demand.deadline_us > 0) {
    const double left_s = static_cast<double>(request_.demand.deadline_us - monotonic_us()) / 1e6;
    headers.emplace_back("X-Request-Timeout", fmt::format("{:.3f}", std::max(0.0, left_s)));
  }
  return headers;
}

std::shared_ptr<const std::string> ProxiedRequest::request_body() const {
  const std::string& body = exchange_->request().body;
  const RequestScan& scan = request_.scan;
  if (scan.model && *scan.model != lease_->remote_model()) {
    return std::make_shared<const std::string>(with_model(body, scan, lease_->remote_model()));
  }
  // Part of the exchange, which lives as long.
  return {exchange_, &body};
}

void ProxiedRequest::on_head(UpstreamHead head) {
  head_ = std::move(head);
  const std::string* type = head_.header("content-type");
  is_events_ = type != nullptr && type->starts_with("text/event-stream") &&
               head_.header("content-encoding") == nullptr;
}

void ProxiedRequest::on_body(std::string piece) {
  if (is_events_) return relay_events(std::move(piece));
  lease_->note_progress(0);
  if (has_begun_) return relay(std::move(piece));
  pending_ += piece;
  if (pending_.size() < kWholeBytes) return;
  is_opaque_ = true;
  begin_stream();
  relay(std::exchange(pending_, {}));
}

// Whole events only, so that one of ours can follow wherever the backend breaks off.
void ProxiedRequest::relay_events(std::string piece) {
  std::size_t end = 0;
  if (pending_.empty()) {
    end = events_end(piece);
    if (end < piece.size()) {
      pending_ = piece.substr(end);
      piece.resize(end);
    }
  } else {
    pending_ += piece;
    end = events_end(pending_);
    piece = pending_.substr(0, end);
    pending_.erase(0, end);
  }
  if (pending_.size() > kMaxEventBytes) {
    is_opaque_ = true;
    piece += std::exchange(pending_, {});
  }
  if (piece.empty()) return lease_->note_progress(0);
  const std::int64_t num_events = count_events(piece);
  ending_.num_events += num_events;
  lease_->note_progress(num_events);
  if (!has_begun_) begin_stream();
  relay(std::move(piece));
}

void ProxiedRequest::relay(std::string piece) {
  exchange_->send(std::move(piece));
  if (is_over_ || exchange_->unsent_bytes() < HttpExchange::kFullBytes) return;
  call_->pause();
  exchange_->when_there_is_room([self = shared_from_this()] {
    if (self->call_) self->call_->resume();
  });
}

HttpResponse ProxiedRequest::answer_head() const {
  constexpr std::array<std::string_view, 5> kOurs = {"content-type", "date", "server",
                                                     "x-content-type-options", "vary"};
  HttpResponse response;
  response.status = head_.status;
  const std::string* type = head_.header("content-type");
  response.content_type = type != nullptr ? *type : std::string();
  for (const auto& [name, value] : head_.headers) {
    const bool is_ours =
        std::ranges::find(kOurs, name) != kOurs.end() || name.starts_with("access-control-");
    if (!is_ours) response.headers.emplace_back(name, value);
  }
  remove_unsafe(response.headers);
  response.headers.emplace_back("X-Tandem-Model", ending_.model);
  response.headers.emplace_back("X-Tandem-Backend", ending_.backend);
  return response;
}

void ProxiedRequest::begin_stream() {
  has_begun_ = true;
  exchange_->begin_stream(answer_head());
}

void ProxiedRequest::on_end() {
  const int status = head_.status;
  if (!has_begun_ && is_temporary(status) && lease_ && try_another(LeaseEnd::kRefused)) return;
  release(is_temporary(status) ? LeaseEnd::kRefused : LeaseEnd::kAnswered);
  if (has_begun_) {
    if (!pending_.empty()) exchange_->send(std::exchange(pending_, {}));
    exchange_->end_stream();
  } else {
    HttpResponse response = answer_head();
    response.body = std::exchange(pending_, {});
    exchange_->respond(std::move(response));
  }
  finish(status);
}

void ProxiedRequest::on_failure(const UpstreamFailure& failure) {
  using Kind = UpstreamFailure::Kind;
  const ApiError error = error_of(failure, ending_.backend);
  head_ = {};
  if (failure.kind == Kind::kDeadline) {
    release(LeaseEnd::kCancelled);  // the client's time, not the backend's fault
    return fail(error);
  }
  const LeaseEnd end = failure.kind == Kind::kTimeout ? LeaseEnd::kTimedOut : LeaseEnd::kFailed;
  if (!has_begun_ && try_another(end)) return;
  release(end);
  fail(error);
}

bool ProxiedRequest::try_another(LeaseEnd end) {
  if (ending_.num_retries >= lease_->limits().max_retries) return false;
  ++ending_.num_retries;
  request_.demand.tried.push_back(lease_->identity());
  release(end);
  acquire();
  return true;
}

void ProxiedRequest::fail(const ApiError& error) {
  const Dialect dialect = dialect_of(exchange_->request().path);
  ending_.broke = has_begun_;
  if (!has_begun_) {
    exchange_->respond(error_response(error, dialect));
  } else if (is_events_ && !is_opaque_) {
    exchange_->send(error_event(error, dialect));
    exchange_->end_stream();
  } else {
    finish(error.status);  // before the client's going is told
    exchange_->abort();
  }
  finish(error.status);
}

void ProxiedRequest::on_gone() {
  release(LeaseEnd::kCancelled);
  finish(kClientGone);
}

void ProxiedRequest::release(LeaseEnd end) {
  const auto call = std::exchange(call_, nullptr);
  if (call) call->cancel();
  const auto lease = std::exchange(lease_, nullptr);
  if (lease) lease->finish(end);
}

void ProxiedRequest::finish(int status) {
  if (std::exchange(is_over_, true)) return;
  ticket_.reset();
  ending_.status = status;
  if (on_ending_) std::exchange(on_ending_, nullptr)(ending_);
}

}  // namespace tandem
