#pragma once

#include <string>
#include <string_view>

#include "server/http/http_message.h"

namespace tandem {

// Takes out what is meant for one connection alone: the fields that RFC 9110, 7.6.1 names, those
// that Connection names, and the message's framing. Names must be in lower case.
void remove_hop_by_hop(HttpHeaders& headers);

// Takes out fields whose name or value could end a line early.
void remove_unsafe(HttpHeaders& headers);

// A query or path part as it may stand in a request's target.
std::string percent_encode(std::string_view text);

}  // namespace tandem
