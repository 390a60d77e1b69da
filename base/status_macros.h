// Passing an absl::Status up: BALLAST_RETURN_IF_ERROR(expr) and BALLAST_ASSIGN_OR_RETURN(lhs, expr).
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define BALLAST_CONCAT_INNER(a, b) a##b
#define BALLAST_CONCAT(a, b) BALLAST_CONCAT_INNER(a, b)

#define BALLAST_RETURN_IF_ERROR(expression)                            \
  do {                                                                 \
    absl::Status ballast_status = (expression);                        \
    if (!ballast_status.ok()) return ballast_status;                   \
  } while (false)

#define BALLAST_ASSIGN_OR_RETURN(lhs, expression) \
  BALLAST_ASSIGN_OR_RETURN_INNER(BALLAST_CONCAT(ballast_statusor_, __LINE__), lhs, expression)
#define BALLAST_ASSIGN_OR_RETURN_INNER(temporary, lhs, expression) \
  auto temporary = (expression);                                   \
  if (!temporary.ok()) return std::move(temporary).status();       \
  lhs = std::move(temporary).value()
