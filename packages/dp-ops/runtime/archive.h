// Members of zip archives, as far as frozen files are such.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dp {

/// Members by the last part of their name, in whatever folders of the archive. All stored members are checked against
/// their checksums, because frameworks do not. Raises Error, without the name of the file, if the archive is damaged.
std::map<std::string, std::string> read_archive(std::string_view bytes, const std::vector<std::string>& names);

}  // namespace dp
