// Stands before libpqxx 7.8's or 7.9's own header of this name where Findlibpqxx.cmake says so. Has no
// guard, as that has none.
#undef pqxx_have_source_location
#include_next <pqxx/internal/cxx-features.hxx>
#undef pqxx_have_source_location
#define pqxx_have_source_location 0
