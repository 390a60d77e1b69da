#include "coordinator/sqlite.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {

SqliteStatement& SqliteStatement::Bind(int64_t value) {
  bind_error_ |= sqlite3_bind_int64(statement_.get(), ++bound_, value);
  return *this;
}

SqliteStatement& SqliteStatement::BindText(const std::string& value) {
  bind_error_ |= sqlite3_bind_text64(statement_.get(), ++bound_, value.data(), value.size(), SQLITE_TRANSIENT,
                                     SQLITE_UTF8);
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(const std::string& value) {
  bind_error_ |=
      sqlite3_bind_blob64(statement_.get(), ++bound_, value.data(), value.size(), SQLITE_TRANSIENT);
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  if (bind_error_ != SQLITE_OK) return database_->Error("bind");
  int result = sqlite3_step(statement_.get());
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return database_->Error(sqlite3_sql(statement_.get()));
}

absl::Status SqliteStatement::Run() { return Step().status(); }

std::string SqliteStatement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  int bytes = sqlite3_column_bytes(statement_.get(), column);
  return bytes > 0 ? std::string(static_cast<const char*>(data), static_cast<size_t>(bytes)) : std::string();
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::Open(const std::string& path) {
  sqlite3* raw = nullptr;
  int result = sqlite3_open_v2(path.c_str(), &raw,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  SqliteDatabase database(path, raw);
  if (result != SQLITE_OK) return database.Error("open");
  sqlite3_busy_timeout(raw, 2000);
  return database;
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  if (sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return Error(sql);
  return absl::OkStatus();
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_.get(), sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
    return Error(sql);
  return SqliteStatement(this, statement);
}

absl::Status SqliteDatabase::Error(const std::string& what) const {
  return absl::UnavailableError(
      absl::StrCat(path_, ": ", what, ": ", database_ ? sqlite3_errmsg(database_.get()) : "out of memory"));
}

}  // namespace ballast
