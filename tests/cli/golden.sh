# golden.sh - parity with PyTorch through the program: `aira train` from golden weights logs the golden losses, `aira forward`
# writes the golden logits.
set -u
build=$1 golden=$2/tests/golden
aira=$build/bin/aira
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

for net in mix mad_autoencoder llama; do
    "$aira" train "$golden/$net.yaml" --weights "$golden/$net.safetensors" --log "$dir/log" --quiet || exit 1
    # 128 bytes of header, then float32: compare number by number
    od -An -v -tf4 -w4 -j128 "$golden/$net.losses.npy" >"$dir/wanted"
    sed 's/.*"loss":\([^,}]*\).*/\1/' "$dir/log" >"$dir/got"
    paste "$dir/wanted" "$dir/got" | awk -v net="$net" '
        { d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > worst) worst = d; n++ }
        END { printf "%s: %d losses within %.1e\n", net, n, worst; exit !(n == 200 && worst < 0.01) }' || exit 1
    "$aira" forward "$golden/$net.yaml" --weights "$golden/$net.safetensors" --tokens "$golden/first.npy" \
        --out "$dir/logits.npy" --quiet || exit 1
    od -An -v -tf4 -w4 -j128 "$golden/$net.logits.npy" >"$dir/wanted"
    od -An -v -tf4 -w4 -j128 "$dir/logits.npy" >"$dir/got"
    paste "$dir/wanted" "$dir/got" | awk -v net="$net" '
        { d = $1 - $2; if (d < 0) d = -d; if (d > worst) worst = d; n++ }
        END { printf "%s: %d logits within %.1e\n", net, n, worst; exit !(n == 2304 && worst < 1e-4) }' || exit 1
done
