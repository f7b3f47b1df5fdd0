#compdef mlm
# Completes mlm in zsh. Made by: mlm completion zsh
_mlm() {
  local line
  local -a lines words_there shown
  lines=("${(@f)$(_MLM_COMPLETE=zsh _MLM_WORD="${(Q)PREFIX}" \
    "${(Q)${~words[1]}}" "${(@Q)words[2,CURRENT-1]}" 2>/dev/null)}")
  case $lines[1] in
    files) compset -P '--*='; _files ;;
    folders) compset -P '--*='; _files -/ ;;
    words)
      for line in "${(@)lines[2,-1]}"; do
        words_there+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  -- }")
      done
      # Who types a colon behind a model wants a quantization: the blank goes again.
      if [[ $lines[2] == *$'\t'* ]]; then
        compadd -l -d shown -a words_there
      else
        compadd -S ' ' -r ': ' -a words_there
      fi ;;
  esac
}

if [[ $funcstack[1] == _mlm ]]; then # loaded from a folder of $fpath
  _mlm "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
  compdef _mlm mlm
fi
