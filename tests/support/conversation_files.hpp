#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

/// Where recorded conversations, and what has to come of them, are kept.
namespace support {

inline std::filesystem::path conversation_folder() {
    return std::filesystem::path{__FILE__}.parent_path().parent_path() / "unit/protocol";
}

inline std::vector<std::string> conversation_names() {
    std::vector<std::string> names;
    for (const auto& file :
         std::filesystem::directory_iterator{conversation_folder() / "conversations"})
        names.push_back(file.path().filename());
    std::ranges::sort(names);
    return names;
}

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) throw std::runtime_error{"cannot read " + path.string()};
    return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace support
