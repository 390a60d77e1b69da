#include "coordinator/sqlite_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/directory_lock.h"
#include "coordinator/sqlite.h"
#include "wire/records_codec.h"

namespace ballast {
namespace {

constexpr int64_t kSchemaVersion = 5;

// The state columns are for people with the sqlite3 tool; the record is what counts.
constexpr char kCreateTables[] = R"(
  CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE jobs (job TEXT PRIMARY KEY, position INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
                     record BLOB NOT NULL);
  CREATE TABLE plans (job TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
                      record BLOB NOT NULL, PRIMARY KEY (job, version));
  CREATE TABLE generations (job TEXT NOT NULL, generation INTEGER NOT NULL, reason TEXT NOT NULL, record BLOB NOT NULL,
                            PRIMARY KEY (job, generation));
  INSERT INTO meta VALUES ('term', 0);
)";

// What a store of version i + 1 lacks that one of version i + 2 has; a new one takes them all.
constexpr const char* kMigrations[] = {
    R"(CREATE TABLE checkpoints (job TEXT NOT NULL, generation INTEGER NOT NULL, step INTEGER NOT NULL,
                                 state TEXT NOT NULL, directory TEXT NOT NULL, record BLOB NOT NULL,
                                 PRIMARY KEY (job, generation, step));)",
    R"(CREATE TABLE events (job TEXT NOT NULL, number INTEGER NOT NULL, unix_ms INTEGER NOT NULL, kind TEXT NOT NULL,
                            text TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (job, number)) WITHOUT ROWID;)",
    R"(CREATE TABLE explanations (job TEXT NOT NULL, version INTEGER NOT NULL, verdict TEXT NOT NULL,
                                  record BLOB NOT NULL, PRIMARY KEY (job, version));)",
    R"(CREATE TABLE workers (worker TEXT PRIMARY KEY, cordoned INTEGER NOT NULL, record BLOB NOT NULL);)",
};
static_assert(std::size(kMigrations) == kSchemaVersion - 1);

absl::Status WriteRecord(SqliteDatabase& database, const JobRecord& job) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement insert,
                           database.Prepare("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?)"));
  return insert.BindText(job.config->name.value())
      .Bind(job.order)
      .BindText(ToString(job.state))
      .BindText(job.reason)
      .BindBlob(EncodeRecord(job))
      .Run();
}

absl::Status WriteRecord(SqliteDatabase& database, const PlanRecord& plan) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement insert,
                           database.Prepare("INSERT OR REPLACE INTO plans VALUES (?, ?, ?, ?, ?)"));
  return insert.BindText(plan.plan->stamp.job.value())
      .Bind(plan.plan->stamp.version.value())
      .BindText(ToString(plan.state))
      .BindText(plan.outcome.empty() ? plan.plan->body.reason : plan.outcome)
      .BindBlob(EncodeRecord(plan))
      .Run();
}

absl::Status WriteRecord(SqliteDatabase& database, const GenerationRecord& generation) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement insert,
                           database.Prepare("INSERT OR REPLACE INTO generations VALUES (?, ?, ?, ?)"));
  return insert.BindText(generation.job.value())
      .Bind(generation.generation.value())
      .BindText(generation.reason)
      .BindBlob(EncodeRecord(generation))
      .Run();
}

absl::Status WriteRecord(SqliteDatabase& database, const CheckpointRecord& checkpoint) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement insert,
                           database.Prepare("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)"));
  return insert.BindText(checkpoint.job.value())
      .Bind(checkpoint.generation.value())
      .Bind(checkpoint.step.value())
      .BindText(ToString(checkpoint.state))
      .BindText(checkpoint.directory)
      .BindBlob(EncodeRecord(checkpoint))
      .Run();
}

absl::Status WriteRecord(SqliteDatabase& database, const JobEvent& event) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement insert,
                           database.Prepare("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)"));
  BALLAST_RETURN_IF_ERROR(insert.BindText(event.job.value())
                              .Bind(event.number)
                              .Bind(event.unix_ms)
                              .BindText(ToString(event.kind))
                              .BindText(event.text)
                              .BindBlob(EncodeRecord(event))
                              .Run());
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement drop,
                           database.Prepare("DELETE FROM events WHERE job = ? AND number <= ?"));
  return drop.BindText(event.job.value()).Bind(event.number - kEventsMax).Run();
}

absl::Status WriteRecord(SqliteDatabase& database, const ExplanationRecord& record) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement insert,
                           database.Prepare("INSERT OR REPLACE INTO explanations VALUES (?, ?, ?, ?)"));
  BALLAST_RETURN_IF_ERROR(insert.BindText(record.job.value())
                              .Bind(record.version.value())
                              .BindText(record.explanation.verdict)
                              .BindBlob(EncodeRecord(record))
                              .Run());
  BALLAST_ASSIGN_OR_RETURN(
      SqliteStatement drop,
      database.Prepare("DELETE FROM explanations WHERE job = ?1 AND version NOT IN (SELECT version FROM "
                       "explanations WHERE job = ?1 ORDER BY version DESC LIMIT ?2)"));
  return drop.BindText(record.job.value()).Bind(static_cast<int64_t>(kExplanationsMax)).Run();
}

absl::Status WriteRecord(SqliteDatabase& database, const WorkerRecord& worker) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement insert,
                           database.Prepare("INSERT OR REPLACE INTO workers VALUES (?, ?, ?)"));
  return insert.BindText(worker.worker.value())
      .Bind(int64_t{worker.cordoned})
      .BindBlob(EncodeRecord(worker))
      .Run();
}

// Every record that `sql` selects, decoded by `decode`, into `out`.
template <class Record>
absl::Status ReadAll(SqliteDatabase& database, const std::string& sql,
                     absl::StatusOr<Record> (*decode)(const std::string&), std::vector<Record>& out) {
  BALLAST_ASSIGN_OR_RETURN(SqliteStatement select, database.Prepare(sql));
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(bool row, select.Step());
    if (!row) return absl::OkStatus();
    absl::StatusOr<Record> record = decode(select.Bytes(0));
    if (!record.ok())
      return absl::DataLossError(absl::StrCat(sql, ": ", std::string(record.status().message())));
    out.push_back(*std::move(record));
  }
}

class SqliteStore final : public StateStore {
 public:
  SqliteStore(DirectoryLock lock, SqliteDatabase database)
      : lock_(std::move(lock)), database_(std::move(database)) {}

  absl::Status CreateOrCheckSchema(const std::string& path) {
    BALLAST_RETURN_IF_ERROR(database_.Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"));
    BALLAST_ASSIGN_OR_RETURN(int64_t found, ReadInteger("PRAGMA user_version"));
    if (found == kSchemaVersion) return absl::OkStatus();
    if (found < 0 || found > kSchemaVersion) {
      return absl::FailedPreconditionError(absl::StrCat(path, ": schema version ", found,
                                                        ", this program knows ", kSchemaVersion,
                                                        "; start the newer program again"));
    }
    return InTransaction([this, found]() -> absl::Status {
      if (found == 0) BALLAST_RETURN_IF_ERROR(database_.Execute(kCreateTables));
      for (int64_t version = std::max<int64_t>(found, 1); version < kSchemaVersion; ++version) {
        BALLAST_RETURN_IF_ERROR(database_.Execute(kMigrations[version - 1]));
      }
      return database_.Execute(absl::StrCat("PRAGMA user_version=", kSchemaVersion));
    });
  }

  absl::StatusOr<Term> Acquire(Term at_least) override {
    Term term;
    BALLAST_RETURN_IF_ERROR(InTransaction([&]() -> absl::Status {
      BALLAST_ASSIGN_OR_RETURN(int64_t last, ReadInteger("SELECT value FROM meta WHERE key = 'term'"));
      term = Term(std::max(last, at_least.value()) + 1);
      BALLAST_ASSIGN_OR_RETURN(SqliteStatement update,
                               database_.Prepare("UPDATE meta SET value = ? WHERE key = 'term'"));
      return update.Bind(term.value()).Run();
    }));
    return term;
  }

  absl::StatusOr<StoreContents> Load() override {
    StoreContents contents;
    BALLAST_RETURN_IF_ERROR(
        ReadAll(database_, "SELECT record FROM jobs ORDER BY position", DecodeJobRecord, contents.jobs));
    BALLAST_RETURN_IF_ERROR(ReadAll(database_, "SELECT record FROM plans ORDER BY job, version",
                                    DecodePlanRecord, contents.plans));
    BALLAST_RETURN_IF_ERROR(ReadAll(database_, "SELECT record FROM generations ORDER BY job, generation",
                                    DecodeGenerationRecord, contents.generations));
    BALLAST_RETURN_IF_ERROR(ReadAll(database_,
                                    "SELECT record FROM checkpoints ORDER BY job, generation, step",
                                    DecodeCheckpointRecord, contents.checkpoints));
    BALLAST_RETURN_IF_ERROR(ReadAll(database_, "SELECT record FROM events ORDER BY job, number",
                                    DecodeJobEvent, contents.events));
    BALLAST_RETURN_IF_ERROR(ReadAll(database_, "SELECT record FROM explanations ORDER BY job, version",
                                    DecodeExplanationRecord, contents.explanations));
    BALLAST_RETURN_IF_ERROR(ReadAll(database_, "SELECT record FROM workers ORDER BY worker",
                                    DecodeWorkerRecord, contents.workers));
    return contents;
  }

  absl::Status Commit(const Transaction& transaction) override {
    return InTransaction([&]() -> absl::Status {
      BALLAST_ASSIGN_OR_RETURN(int64_t leading, ReadInteger("SELECT value FROM meta WHERE key = 'term'"));
      if (leading != transaction.term.value()) {
        return absl::FailedPreconditionError(
            absl::StrCat("term ", transaction.term.value(), " was fenced: term ", leading, " leads"));
      }
      for (const RecordWrite& write : transaction.writes) {
        BALLAST_RETURN_IF_ERROR(
            std::visit([this](const auto& record) { return WriteRecord(database_, record); }, write));
      }
      return absl::OkStatus();
    });
  }

 private:
  // Runs `body` and commits; rolls back when it fails. Unknown when the commit itself failed.
  template <class Body>
  absl::Status InTransaction(const Body& body) {
    BALLAST_RETURN_IF_ERROR(database_.Execute("BEGIN IMMEDIATE"));
    absl::Status status = body();
    if (!status.ok()) {
      database_.Execute("ROLLBACK").IgnoreError();
      return status;
    }
    absl::Status committed = database_.Execute("COMMIT");
    if (committed.ok()) return committed;
    database_.Execute("ROLLBACK").IgnoreError();
    return absl::UnknownError(std::string(committed.message()));
  }

  absl::StatusOr<int64_t> ReadInteger(const std::string& sql) {
    BALLAST_ASSIGN_OR_RETURN(SqliteStatement select, database_.Prepare(sql));
    BALLAST_ASSIGN_OR_RETURN(bool row, select.Step());
    if (!row) return absl::DataLossError(absl::StrCat(sql, ": no row"));
    return select.Integer(0);
  }

  const DirectoryLock lock_;
  SqliteDatabase database_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StateStore>> OpenSqliteStore(const std::string& directory) {
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::UnavailableError(absl::StrCat("data directory ", directory, ": ", std::strerror(errno)));
  }
  BALLAST_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Take(directory));
  std::string path = absl::StrCat(directory, "/ballast.db");
  BALLAST_ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path));
  auto store = std::make_unique<SqliteStore>(std::move(lock), std::move(database));
  BALLAST_RETURN_IF_ERROR(store->CreateOrCheckSchema(path));
  return store;
}

}  // namespace ballast
