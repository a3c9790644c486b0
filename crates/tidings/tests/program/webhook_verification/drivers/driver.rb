# Applies the function to every case of a file, and prints the answers.
require "json"
require_relative "verify"

JSON.parse(File.read(ARGV.fetch(0))).each do |test|
  puts from_tidings?(test["secret"], test["headers"], test["body"].unpack1("m"))
end
