# Completes mlm in bash 3.2 or newer. Made by: mlm completion bash
_mlm() {
    local line=${COMP_LINE:0:COMP_POINT} kind word  # letters, which have several bytes each
    local LC_ALL=C
    COMPREPLY=()
    {
        read -r kind
        while IFS= read -r word; do COMPREPLY+=("$word"); done
    } < <(_MLM_COMPLETE=bash _MLM_LINE="$line" _MLM_BREAKS="$COMP_WORDBREAKS" \
        "${1/#\~/$HOME}" 2>/dev/null)
    case $kind in
        files) compopt -o default 2>/dev/null ||
            while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$2") ;;
        folders) compopt -o dirnames 2>/dev/null ||
            while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -d -- "$2") ;;
    esac
}

complete -F _mlm mlm
