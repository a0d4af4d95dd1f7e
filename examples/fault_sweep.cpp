// Proves a service: whatever strikes it, and wherever, its work happens altogether or not at all,
// and its caller is told which.

#include <txscope/testing/fault_sweep.hpp>
#include <txscope/testing/temporary_postgres.hpp>
#include <txscope/txscope.hpp>

#include <boost/describe/class.hpp>

#include <exception>
#include <iostream>

namespace asio = boost::asio;
using txscope::field;

struct Account {
    std::int64_t id{};
    std::int64_t balance{};
};
BOOST_DESCRIBE_STRUCT(Account, (), (id, balance))

struct Transfer {
    std::int64_t payer{};
    std::int64_t payee{};
    std::int64_t amount{};
};
BOOST_DESCRIBE_STRUCT(Transfer, (), (payer, payee, amount))

class AccountRepository : public txscope::BaseRepository<AccountRepository, Account> {
public:
    static constexpr std::string_view table = "accounts";
    using BaseRepository::BaseRepository;
};

class TransferRepository : public txscope::BaseRepository<TransferRepository, Transfer> {
public:
    static constexpr std::string_view table = "transfers";
    using BaseRepository::BaseRepository;
};

class Bank : public txscope::ServiceCoordinator<AccountRepository, TransferRepository> {
public:
    using ServiceCoordinator::ServiceCoordinator;

    asio::awaitable<void> transfer(Transfer wanted) {
        co_await transact([&](AccountRepository& accounts,
                              TransferRepository& transfers) -> asio::awaitable<void> {
            const Account payer = co_await accounts.get(wanted.payer);
            const Account payee = co_await accounts.get(wanted.payee);
            co_await accounts.update(payer.id,
                                     field<&Account::balance> = payer.balance - wanted.amount);
            co_await accounts.update(payee.id,
                                     field<&Account::balance> = payee.balance + wanted.amount);
            transfers.add(wanted);  // sent along with the COMMIT
        });
    }
};

// Takes the tables back to where nothing has happened, and asks what has.
constexpr auto reset = R"(
    DROP TABLE IF EXISTS accounts, transfers;
    CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE transfers (payer bigint, payee bigint, amount bigint);
    INSERT INTO accounts VALUES (1, 100), (2, 0))";
constexpr auto state = R"(
    SELECT (SELECT string_agg(balance::text, ' and ' ORDER BY id) FROM accounts),
           (SELECT count(*) FROM transfers))";

int main() try {
    txscope::TemporaryPostgres server;  // a throwaway; any other server will do
    txscope::FaultSweep sweep{server.dsn(), {.reset = reset, .state = state}};
    for (const txscope::Fault fault : txscope::all_faults) {
        const auto met =
            sweep.run(fault, [](txscope::AsyncSessionFactory sessions) -> asio::awaitable<void> {
                Bank bank{sessions, {.isolation = txscope::IsolationLevel::serializable}};
                co_await bank.transfer({.payer = 1, .payee = 2, .amount = 30});
            });
        std::cout << to_string(fault) << " at each of " << met.points << " points: nothing "
                  << met.nothing << " times, everything " << met.everything << " times\n";
    }
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
