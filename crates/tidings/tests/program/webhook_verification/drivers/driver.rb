# Applies the function to every case of a file, and prints the answers.
require "json"
require_relative "verify"

JSON.parse(File.read(ARGV.fetch(0))).each do |test|
  # Some servers give bodies as UTF-8, whatever they hold.
  body = test["body"].unpack1("m").force_encoding("UTF-8")
  puts from_tidings?(test["secret"], test["headers"], body)
end
