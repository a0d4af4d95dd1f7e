#pragma once

#include <string_view>
#include <type_traits>

namespace txscope::detail {

// A repository that says its `version` in a private part would be taken for one that has none. A name that
// a class has beside one of these is ambiguous, whether it is public or not.
struct NamesKey {
    int key;
};
struct NamesGenerated {
    int generated;
};
struct NamesVersion {
    int version;
};
struct NamesCreatedAt {
    int created_at;
};
struct NamesUpdatedAt {
    int updated_at;
};
struct NamesDeletedAt {
    int deleted_at;
};
struct NamesColumn {
    int column;
};

template <typename T, typename Named>
struct Beside : T, Named {};

/// Whether a repository says something that is not public, so that nobody hears it.
template <typename T>
constexpr bool hides_what_it_says() {
    if constexpr (std::is_final_v<T>)
        return false;  // nobody knows
    else
        return (!requires { &Beside<T, NamesKey>::key; } && !requires { &T::key; }) ||
               (!requires { &Beside<T, NamesGenerated>::generated; } &&
                !requires { &T::generated; }) ||
               (!requires { &Beside<T, NamesVersion>::version; } && !requires { &T::version; }) ||
               (!requires { &Beside<T, NamesCreatedAt>::created_at; } &&
                !requires { &T::created_at; }) ||
               (!requires { &Beside<T, NamesUpdatedAt>::updated_at; } &&
                !requires { &T::updated_at; }) ||
               (!requires { &Beside<T, NamesDeletedAt>::deleted_at; } &&
                !requires { &T::deleted_at; }) ||
               (!requires { &Beside<T, NamesColumn>::column; } &&
                !requires { T::column(std::string_view{}); });
}

}  // namespace txscope::detail
