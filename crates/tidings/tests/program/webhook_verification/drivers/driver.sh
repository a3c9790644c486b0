# Applies the function to every case, one directory each in their order, and prints the answers.
. ./verify.sh

part() { cat "$case/$1"; }
for case in cases/*; do
    if is_from_tidings "$(part secret)" "$(part webhook-id)" "$(part webhook-timestamp)" \
        "$(part webhook-signature)" < "$case/body"
    then echo true; else echo false; fi
done
