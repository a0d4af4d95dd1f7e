#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// Plain, blocking libpq: what tests look at a database with, independently of the library.
namespace support {

/// A statement, or the connection itself, failed.
class QueryError : public std::runtime_error {
public:
    QueryError(const std::string& message, std::string sqlstate)
        : std::runtime_error{message}, sqlstate_{std::move(sqlstate)} {}

    /// Empty when the failure did not come from the server.
    const std::string& sqlstate() const { return sqlstate_; }

private:
    std::string sqlstate_;
};

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

inline Result own(PGresult* result) { return {result, &PQclear}; }

/// The rows of an answer, in text form; NULL is `std::nullopt`.
class Rows {
public:
    using Row = std::vector<std::optional<std::string>>;

    explicit Rows(const PGresult* result) {
        for (int row = 0; row < PQntuples(result); ++row) {
            Row& values = rows_.emplace_back();
            for (int column = 0; column < PQnfields(result); ++column) {
                if (PQgetisnull(result, row, column))
                    values.emplace_back(std::nullopt);
                else
                    values.emplace_back(PQgetvalue(result, row, column));
            }
        }
    }

    std::size_t size() const { return rows_.size(); }
    bool empty() const { return rows_.empty(); }
    const Row& operator[](std::size_t row) const { return rows_.at(row); }
    auto begin() const { return rows_.begin(); }
    auto end() const { return rows_.end(); }

    /// The only value of an answer that has one row and one column, and is not NULL.
    const std::string& value() const {
        if (rows_.size() != 1 || rows_[0].size() != 1 || !rows_[0][0])
            throw std::logic_error{"the answer is not one value"};
        return *rows_[0][0];
    }
    std::int64_t number() const { return std::stoll(value()); }

    /// The first column from top to bottom.
    std::vector<std::string> column() const {
        std::vector<std::string> values;
        for (const Row& row : rows_) values.push_back(row.at(0).value_or("NULL"));
        return values;
    }

private:
    std::vector<Row> rows_;
};

/// One connection.
///
///     support::Client other{database.dsn()};
///     CHECK(other.query("SELECT count(*) FROM projects").number() == 1);
class Client {
public:
    explicit Client(const std::string& dsn) : connection_{PQconnectdb(dsn.c_str()), &PQfinish} {
        if (PQstatus(handle()) != CONNECTION_OK) throw QueryError{PQerrorMessage(handle()), {}};
    }

    /// Run `sql`, which may hold several statements; the rows are those of the last one.
    Rows query(const std::string& sql) { return checked(own(PQexec(handle(), sql.c_str()))); }

    /// Send `sql` and leave it running, for instance into a lock that another session holds.
    void send(const std::string& sql) {
        if (PQsendQuery(handle(), sql.c_str()) != 1) throw QueryError{PQerrorMessage(handle()), {}};
    }

    /// Wait for the answer to `send`.
    Rows receive() {
        Result last = own(PQgetResult(handle()));
        while (Result next = own(PQgetResult(handle()))) last = std::move(next);
        return checked(last);
    }

    PGconn* handle() const { return connection_.get(); }
    int backend_pid() const { return PQbackendPID(handle()); }

private:
    Rows checked(const Result& result) const {
        const ExecStatusType status = PQresultStatus(result.get());
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK &&
            status != PGRES_EMPTY_QUERY) {
            const char* sqlstate = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
            throw QueryError{PQerrorMessage(handle()), sqlstate ? sqlstate : ""};
        }
        return Rows{result.get()};
    }

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

/// One question over a connection of its own.
inline Rows query(const std::string& dsn, const std::string& sql) { return Client{dsn}.query(sql); }

}  // namespace support
