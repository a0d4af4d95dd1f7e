#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <memory>
#include <utility>

namespace txscope::detail {

/// A part of a statement that is put together while the program runs: of a type that is known only where
/// it is made. Its copies share it.
class HeldPart {
public:
    /// @param write `write(out, part)`
    template <typename Part, typename Write>
    HeldPart(Part part, Write write)
        : held_{std::make_shared<const Holding<Part, Write>>(std::move(part), std::move(write))} {}

    void write(SqlWriter& out) const { held_->write(out); }
    void bind(Statement& statement) const { held_->bind(statement); }

private:
    struct Held {
        virtual ~Held() = default;
        virtual void write(SqlWriter& out) const = 0;
        virtual void bind(Statement& statement) const = 0;
    };

    template <typename Part, typename Write>
    struct Holding final : Held {
        Holding(Part part, Write write) : part_(std::move(part)), write_(std::move(write)) {}
        void write(SqlWriter& out) const override { write_(out, part_); }
        void bind(Statement& statement) const override { part_.bind(statement); }

    private:
        Part part_;
        [[no_unique_address]] Write write_;
    };

    std::shared_ptr<const Held> held_;
};

}  // namespace txscope::detail
