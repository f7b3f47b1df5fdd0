#compdef mlm

_mlm_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _MLM_COMPLETE=complete_zsh mlm)
}

compdef _mlm_completion mlm
